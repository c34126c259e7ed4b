"""Takes ``script``, ``iframe`` and ``object`` elements out of texts, and leaves all else as it is.

An element goes from its start tag to its end tag; of one that is never closed only the
start tag goes, or a sentence that names a tag would lose its other half. What is
left holds none of these start tags, also none that only came together when
something between its halves went.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_START = re.compile(r"<(script|iframe|object)(?=[\t\n\f\r />]|\Z)", re.IGNORECASE | re.ASCII)
# Behind the name: attributes, whose quoted values may hold a ">".
_REST = re.compile(r"""(?:[^>=]++|=[\t\n\f\r ]*+(?:"[^"]*+"|'[^']*+')?+)*+>""")
_END = {
    name: re.compile(rf"</{name}(?=[\t\n\f\r />])[^>]*+>", re.IGNORECASE | re.ASCII) for name in ("script", "iframe")
}
_OBJECT_TAG = re.compile(r"<(/?)object(?=[\t\n\f\r />])[^>]*+>", re.IGNORECASE | re.ASCII)
_REACH = len("<script")  # how much of a start tag can stand before a gap

# What is no content, and is the same on every surface.
_SECRETS = frozenset({"password", "current_password", "new_password", "old_password", "password_confirm"})


def without_elements(text: str) -> str:
    """The text without these elements, in time that grows with its length only."""
    if "<" not in text or not _START.search(text):
        return text
    return _Remover(text).run()


def cleaned(value: Any) -> Any:
    """A JSON value with every text in it cleaned, but for passwords."""
    if isinstance(value, str):
        return without_elements(value)
    if isinstance(value, list):
        return [cleaned(item) for item in value]
    if isinstance(value, Mapping):
        return {name: item if name in _SECRETS else cleaned(item) for name, item in value.items()}
    return value


class _Remover:
    def __init__(self, text: str) -> None:
        self._text = text
        self._kept: list[tuple[int, int]] = []  # stretches of the text
        self._never_closed: set[str] = set()  # from here on
        self._tags_end = True

    def run(self) -> str:
        place = 0
        while (start := _START.search(self._text, place)) is not None:
            self._keep(place, start.start())
            place = self._behind(start[1].lower(), start.end())
            # What stood before and what comes now may be a start tag together.
            while (joined := self._joined(place)) is not None:
                place = self._behind(*joined)
        self._keep(place, len(self._text))
        return "".join(self._text[start:end] for start, end in self._kept)

    def _keep(self, start: int, end: int) -> None:
        if start < end:
            self._kept.append((start, end))

    def _behind(self, name: str, place: int) -> int:
        """Where the element ends whose start tag's name ends at ``place``."""
        rest = _REST.match(self._text, place) if self._tags_end else None
        if rest is None:
            self._tags_end = False
            return place  # without its name it is no tag
        place = rest.end()
        if name in self._never_closed:
            return place
        end = self._end_of_object(place) if name == "object" else self._end(name, place)
        if end is None:
            self._never_closed.add(name)
            return place
        return end

    def _end(self, name: str, place: int) -> int | None:
        found = _END[name].search(self._text, place)
        return found.end() if found else None

    def _end_of_object(self, place: int) -> int | None:
        """Objects hold objects; where not all of them are closed, the last end tag ends this one."""
        depth, last = 1, None
        for tag in _OBJECT_TAG.finditer(self._text, place):
            if not tag[1]:
                depth += 1
                continue
            depth, last = depth - 1, tag.end()
            if not depth:
                break
        return last

    def _joined(self, place: int) -> tuple[str, int] | None:
        """The start tag that begins in what is kept and ends at or behind ``place``: its name, and where that ends."""
        before = self._tail()
        found = _START.search(before + self._text[place : place + _REACH + 1])
        if found is None or found.start() >= len(before):
            return None
        if place + _REACH + 1 < len(self._text) and found.end() == len(before) + _REACH + 1:
            return None  # the window's end is not the text's
        self._cut(len(before) - found.start())
        return found[1].lower(), place + max(0, found.end() - len(before))

    def _tail(self) -> str:
        found = ""
        for start, end in reversed(self._kept):
            found = self._text[max(start, end - (_REACH - len(found))) : end] + found
            if len(found) == _REACH:
                break
        return found

    def _cut(self, length: int) -> None:
        while length:
            start, end = self._kept.pop()
            if end - start > length:
                self._kept.append((start, end - length))
                return
            length -= end - start
