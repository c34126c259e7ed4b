"""What ``custom_css`` may hold. It is kept as it was sent or refused in words, never changed.

A style sheet can load things (``url()``, ``@import``, ``image-set()``), run things in old browsers
(``expression()``, ``behavior``, ``-moz-binding``) and look at what people type (``[value^=…]``). So
at-rules, functions, attribute selectors and addresses are those of a list; what a browser may know
tomorrow is not on it. Two passes: one over every token, whatever rule it is part of, one over the
rules, for selectors and names of properties.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import tinycss2

MAX_CHARACTERS = 50_000
MAX_DEPTH = 20
MAX_PROBLEMS = 20

_AT_RULES = frozenset({"media", "supports", "container", "layer", "keyframes", "-webkit-keyframes"})
_KEYFRAMES = frozenset({"keyframes", "-webkit-keyframes"})
_FUNCTIONS = frozenset({
    "rgb", "rgba", "hsl", "hsla", "hwb", "lab", "lch", "oklab", "oklch", "color", "color-mix", "light-dark", "calc",
    "min", "max", "clamp", "round", "mod", "rem", "abs", "sign", "pow", "sqrt", "hypot", "log", "exp", "sin", "cos",
    "tan", "asin", "acos", "atan", "atan2", "var", "env", "linear-gradient", "radial-gradient", "conic-gradient",
    "repeating-linear-gradient", "repeating-radial-gradient", "repeating-conic-gradient", "translate", "translatex",
    "translatey", "translatez", "translate3d", "scale", "scalex", "scaley", "scalez", "scale3d", "rotate",
    "rotatex", "rotatey", "rotatez", "rotate3d", "skew", "skewx", "skewy", "matrix", "matrix3d", "perspective",
    "blur", "brightness", "contrast", "drop-shadow", "grayscale", "hue-rotate", "invert", "opacity", "saturate",
    "sepia", "cubic-bezier", "steps", "linear", "inset", "circle", "ellipse", "polygon", "rect", "xywh", "minmax",
    "repeat", "fit-content", "counter", "counters", "not", "is", "where", "has", "nth-child", "nth-last-child",
    "nth-of-type", "nth-last-of-type", "lang", "dir", "host", "slotted", "part", "selector", "style",
})  # fmt: skip
# Each can load or run something in some browser, old ones among them.
_NEVER = frozenset({"behavior", "-ms-behavior", "-moz-binding"})
_PROPERTY = re.compile(r"--[a-z0-9_-]{1,80}|(?:-webkit-)?[a-z][a-z0-9-]{0,60}")
_IMAGE = re.compile(r"data:image/(?:png|jpeg|gif|webp|avif);base64,[A-Za-z0-9+/]+={0,2}", re.IGNORECASE)
_FORM_ELEMENTS = frozenset({"input", "textarea", "select", "option", "optgroup", "form"})
_FORM_STATES = frozenset({
    "autofill", "-webkit-autofill", "placeholder", "placeholder-shown", "-webkit-input-placeholder",
    "-moz-placeholder", "file-selector-button", "valid", "invalid", "user-valid", "user-invalid", "required",
    "optional", "in-range", "out-of-range", "read-only", "read-write", "checked", "indeterminate", "default",
})  # fmt: skip
_ATTRIBUTES = re.compile(r"(?:data|aria)-[a-z0-9-]+|class|id|lang|dir|hidden|open|role|rel|href|src|alt|target|title")
_ALLOWED_CONTROLS = frozenset("\t\n\r\f")
_END = "fastcms-end"


def problems(css: str) -> list[str]:
    """What is wrong with a style sheet, each with its line: nothing for one that may be kept."""
    if len(css) > MAX_CHARACTERS:
        return [f"A style sheet has at most {MAX_CHARACTERS:,} characters; this one has {len(css):,}."]
    return _Check().run(css)


class _Check:
    def __init__(self) -> None:
        self._found: dict[str, int] = {}

    def run(self, css: str) -> list[str]:
        self._raw(css)
        self._tokens(tinycss2.parse_component_value_list(css, skip_comments=True), 0)
        rules = tinycss2.parse_stylesheet(f"{css}\n.{_END}{{}}", skip_comments=True, skip_whitespace=True)
        if (
            not rules
            or rules[-1].type != "qualified-rule"
            or tinycss2.serialize(rules[-1].prelude).strip() != f".{_END}"
        ):
            # Whatever a page puts behind the style sheet would be swallowed.
            self._say(css.count("\n") + 1, "the style sheet ends inside a rule, text or comment that is not closed")
        else:
            self._rules(rules[:-1], 0)
        in_order = sorted(self._found.items(), key=lambda found: found[1])
        return [f"Line {line}: {sentence}." for sentence, line in in_order[:MAX_PROBLEMS]]

    def _say(self, line: int, sentence: str) -> None:
        self._found.setdefault(sentence, line)

    def _raw(self, css: str) -> None:
        for number, line in enumerate(css.split("\n"), 1):
            if "</" in line or "<!--" in line or "-->" in line:
                self._say(number, "'</', '<!--' and '-->' would end the style element that holds this")
            if any(unicodedata.category(char) in ("Cc", "Cs") and char not in _ALLOWED_CONTROLS for char in line):
                self._say(number, "control characters are not allowed")

    # --- every token, wherever it stands ---------------------------------------------------

    def _tokens(self, nodes: Iterable[Any], depth: int) -> None:
        for node in nodes:
            if node.type == "error":
                self._say(node.source_line, f"this can't be read ({node.message})")
            elif node.type == "url":
                self._address(node.value, node.source_line)
            elif node.type == "at-keyword" and node.lower_value not in _AT_RULES:
                self._say(node.source_line, f"@{node.value[:40]} is not allowed")
            elif node.type == "ident" and node.lower_value in _NEVER:
                self._say(node.source_line, f"{node.lower_value} is not allowed")
            elif node.type == "function":
                self._function(node)
            inner = getattr(node, "arguments", None) or getattr(node, "content", None)
            if inner and depth >= MAX_DEPTH:
                self._say(node.source_line, f"brackets are nested deeper than {MAX_DEPTH} levels")
            elif inner:
                self._tokens(inner, depth + 1)

    def _function(self, node: Any) -> None:
        if node.lower_name == "url":
            given = [part for part in node.arguments if part.type not in ("whitespace", "comment")]
            self._address(given[0].value if len(given) == 1 and given[0].type == "string" else "", node.source_line)
        elif node.lower_name not in _FUNCTIONS:
            self._say(node.source_line, f"the function {node.name[:40]}() is not allowed")

    def _address(self, address: str, line: int) -> None:
        if not _IMAGE.fullmatch(address.strip()):
            self._say(
                line,
                "url() may hold nothing but an image: data:image/png, jpeg, gif, webp or avif, in base64",
            )

    # --- rules, selectors, properties ------------------------------------------------------

    def _rules(self, nodes: Iterable[Any], depth: int, keyframes: bool = False) -> None:
        if depth > MAX_DEPTH:
            return  # said of the brackets already
        for node in nodes:
            if node.type == "error":
                self._say(node.source_line, f"this can't be read ({node.message})")
            elif node.type == "at-rule":
                self._at_rule(node, depth)
            elif node.type == "qualified-rule":
                if not keyframes:
                    self._selector(node.prelude, node.source_line)
                self._rules(_block(node.content), depth + 1)
            elif node.type == "declaration":
                self._declaration(node)

    def _at_rule(self, node: Any, depth: int) -> None:
        if node.content is None:
            return
        keyframes = node.lower_at_keyword in _KEYFRAMES
        parse = _block if depth and not keyframes else _rule_list
        self._rules(parse(node.content), depth + 1, keyframes)

    def _declaration(self, node: Any) -> None:
        if node.lower_name not in _NEVER and not _PROPERTY.fullmatch(node.lower_name):
            self._say(node.source_line, f"the property {node.name[:40]} is not allowed")
        if any(part.type == "{} block" for part in node.value):
            self._say(node.source_line, "a value can't hold { }")  # others might read a rule in it

    def _selector(self, nodes: Sequence[Any], line: int) -> None:
        before = ""
        for node in nodes:
            if node.type == "ident":
                self._name(before, node)
            elif node.type == "[] block":
                name = next((part.lower_value for part in node.content if part.type == "ident"), "")
                if not _ATTRIBUTES.fullmatch(name):
                    self._say(node.source_line, f"selectors may not ask for the attribute [{name[:40]}]")
            elif node.type == "function":
                self._selector(node.arguments, line)
            before = node.value if node.type == "literal" else node.type

    def _name(self, before: str, node: Any) -> None:
        if before in (":", "::"):
            if node.lower_value in _FORM_STATES:
                self._say(node.source_line, f"selectors may not ask for :{node.lower_value}, which is about forms")
        elif before != "." and node.lower_value in _FORM_ELEMENTS:
            self._say(
                node.source_line, f"selectors may not reach <{node.lower_value}>, where people type what is theirs"
            )


def _block(content: Any) -> list[Any]:
    return list(tinycss2.parse_blocks_contents(content, skip_comments=True, skip_whitespace=True))


def _rule_list(content: Any) -> list[Any]:
    return list(tinycss2.parse_rule_list(content, skip_comments=True, skip_whitespace=True))
