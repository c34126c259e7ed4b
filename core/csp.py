"""What a page of ours may load and run: what comes from here, and nothing that stands in the page itself.

Stored content is escaped wherever it is shown; should that ever fail, it still does not run. The style
sheets in a page's head are its template's own, and allowed by their hashes.
"""

from __future__ import annotations

import re
from base64 import b64encode
from functools import lru_cache
from hashlib import sha256

HEADER = "Content-Security-Policy"
_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)


def policy(page: str) -> str:
    """The policy for this page of HTML."""
    return _policy(tuple(_STYLE.findall(page.partition("</head>")[0])))


@lru_cache(64)
def _policy(styles: tuple[str, ...]) -> str:
    hashes = "".join(f" 'sha256-{b64encode(sha256(style.encode()).digest()).decode()}'" for style in styles)
    return (
        f"default-src 'self'; img-src 'self' data:; style-src 'self'{hashes}; object-src 'none'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    )
