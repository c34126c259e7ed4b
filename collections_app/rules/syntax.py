"""Rule text as a syntax tree.

Grammar: comparisons joined by ``&&`` (tighter) and ``||``, negated groups
``!( … )``, parentheses. The tree is pure and cached by its source.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from core.errors import BadRequest

# Longer sources are parsed each time: 2,000 of them would fill the process.
MAX_REMEMBERED = 500
MAX_LENGTH, MAX_COMPARISONS, MAX_DEPTH = 4000, 200, 20
OPERATORS = ("=", "!=", ">", ">=", "<", "<=", "~", "!~")

_TOKEN = re.compile(
    r"""(?:\s+|//[^\n]*)*(?:
     (?P<op>\??(?:!=|!~|>=|<=|=|~|>|<))
    |(?P<and>&&)|(?P<or>\|\|)|(?P<open>\()|(?P<close>\))
    |(?P<not>!)
    |(?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    |(?P<word>(?!//)[^\s()&|'"=!<>~?]+)
    |(?P<end>\Z))""",
    re.VERBOSE | re.DOTALL,
)
_BLANK = re.compile(r"(?:\s+|//[^\n]*)*")
_FORBIDDEN = re.compile("[\x00\ud800-\udfff]")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


class RuleError(BadRequest):
    """A rule or filter that can't be understood; the message says where."""

    def __init__(self, message: str, source: str, position: int) -> None:
        around = source[max(0, position - 20) : position + 20]
        super().__init__(f"{message} (at character {position + 1}, near {around!r})")
        self.position = position


class Word(NamedTuple):
    """Anything that is not quoted: a name, a number, a macro, or in filters a bare text."""

    text: str
    position: int


class Text(NamedTuple):
    """A quoted string."""

    value: str
    position: int


class Compare(NamedTuple):
    left: Word | Text
    op: str
    any_of: bool
    right: Word | Text
    position: int


class And(NamedTuple):
    parts: tuple[Node, ...]


class Or(NamedTuple):
    parts: tuple[Node, ...]


class Not(NamedTuple):
    part: Node


Node = Compare | And | Or | Not


def is_number(text: str) -> bool:
    return bool(_NUMBER.fullmatch(text)) and len(text) <= 64


def parse(source: str) -> Node:
    """The tree of a rule; RuleError points at the character that is wrong."""
    return _remembered(source) if len(source) <= MAX_REMEMBERED else _Parser(source).parse()


@lru_cache(maxsize=2000)
def _remembered(source: str) -> Node:
    return _Parser(source).parse()


class _Parser:
    def __init__(self, source: str) -> None:
        self.source = source
        self.comparisons = 0
        if len(source) > MAX_LENGTH:
            raise BadRequest(f"The expression is longer than {MAX_LENGTH:,} characters.")
        if (forbidden := _FORBIDDEN.search(source)) is not None:
            raise self.error("This character is not allowed", forbidden.start())
        self.tokens = self._tokens()
        self.at = 0

    def error(self, message: str, position: int) -> RuleError:
        return RuleError(message, self.source, position)

    def _tokens(self) -> list[tuple[str, str, int]]:
        found: list[tuple[str, str, int]] = []
        source, position, kind = self.source, 0, ""
        while kind != "end":
            match = _TOKEN.match(source, position)
            if match is None:
                position = _BLANK.match(source, position).end()  # type: ignore[union-attr]
                char = source[position]
                hint = "This quote is never closed" if char in "'\"" else f"Unexpected {char!r}"
                raise self.error(hint, position)
            kind = match.lastgroup or ""
            position = match.end()
            found.append((kind, match[kind], match.start(kind)))
        return found

    def parse(self) -> Node:
        if self.tokens[0][0] == "end":
            raise self.error("The expression is empty", 0)
        node = self._or(0)
        kind, text, position = self.tokens[self.at]
        if kind != "end":
            raise self.error(f"Expected && or ||, not {text!r}", position)
        return node

    def _or(self, depth: int) -> Node:
        parts = [self._and(depth)]
        while self.tokens[self.at][0] == "or":
            self.at += 1
            parts.append(self._and(depth))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _and(self, depth: int) -> Node:
        parts = [self._unit(depth)]
        while self.tokens[self.at][0] == "and":
            self.at += 1
            parts.append(self._unit(depth))
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _unit(self, depth: int) -> Node:
        kind, _, position = self.tokens[self.at]
        if depth > MAX_DEPTH:
            raise self.error(f"Nested deeper than {MAX_DEPTH} levels", position)
        if kind == "not":
            self.at += 1
            if self.tokens[self.at][0] != "open":
                raise self.error("Expected ( after !", self.tokens[self.at][2])
            return Not(self._unit(depth))
        if kind == "open":
            self.at += 1
            node = self._or(depth + 1)
            if self.tokens[self.at][0] != "close":
                raise self.error("Expected )", self.tokens[self.at][2])
            self.at += 1
            return node
        return self._comparison()

    def _comparison(self) -> Node:
        left = self._operand()
        kind, text, position = self.tokens[self.at]
        if kind != "op":
            raise self.error(
                f"Expected an operator such as = after this; write {_shown(left)} = true for yes/no", position
            )
        self.at += 1
        self.comparisons += 1
        if self.comparisons > MAX_COMPARISONS:
            raise self.error(f"More than {MAX_COMPARISONS} comparisons", position)
        right = self._operand()
        return Compare(left, text.lstrip("?"), text.startswith("?"), right, position)

    def _operand(self) -> Word | Text:
        kind, text, position = self.tokens[self.at]
        if kind == "string":
            self.at += 1
            return Text(_ESCAPE.sub(lambda match: _ESCAPES.get(match[1], match[1]), text[1:-1]), position)
        if kind == "word":
            self.at += 1
            return Word(text, position)
        raise self.error("Expected a name or a value" if kind != "end" else "The expression ends too early", position)


def _shown(operand: Word | Text) -> str:
    return operand.text if isinstance(operand, Word) else repr(operand.value)
