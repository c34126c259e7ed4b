"""JSON for eyes: indented, coloured by kind, with links."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from core import json

Link = Callable[[Mapping[str, Any]], str | None]
_INDENT = "  "
_NAMED_BY = ("id", "name")


def json_html(value: Any, link: Link) -> SafeString:
    """Escaped HTML for a ``<pre>``. ``link`` gives the address of an object, which its id or name then carries."""
    return mark_safe(_markup(value, "", link))  # noqa: S308 - every text in it is escaped below


def _markup(value: Any, indent: str, link: Link) -> str:
    inner = indent + _INDENT
    if isinstance(value, Mapping) and value:
        address = link(value)
        label = next((name for name in _NAMED_BY if name in value), None) if address else None
        lines = [
            f"{inner}<b>{_quoted(str(key))}</b>: "
            + (_anchor(address or "", item) if key == label else _markup(item, inner, link))
            for key, item in value.items()
        ]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, (list, tuple)) and value:
        return "[\n" + ",\n".join(inner + _markup(item, inner, link) for item in value) + f"\n{indent}]"
    if isinstance(value, str):
        if value.startswith(("https://", "http://")) and not any(char.isspace() for char in value):
            return _anchor(value, value)
        return f"<i>{_quoted(value)}</i>"
    return f"<em>{escape(json.dumps(value).decode())}</em>"


def _anchor(address: str, value: Any) -> str:
    href = escape(quote(address, safe="/:?#[]@!$&'()*+,;=%-._~"))
    return f'<a href="{href}" rel="noreferrer">{escape(json.dumps(value).decode())}</a>'


def _quoted(text: str) -> str:
    return escape(json.dumps(text).decode())
