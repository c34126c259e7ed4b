"""What ``custom_css`` may hold: what is fine is kept, the rest refused in words with its line."""

from __future__ import annotations

import pytest
import tinycss2
from hypothesis import given
from hypothesis import strategies as st

from settings_app.themes import colours, css, keys, palette
from settings_app.themes.colours import READABLE, Colour, contrast
from settings_app.themes.keys import COLOURS, DARK

FINE = """
/* a comment with @import and url(x) in it */
:root { --brand: #0f0; --gap: calc(1px + 2 * 3px) }
a:hover, .card > h1::before, [data-state="open"] p { color: var(--brand); content: "\\201C" }
.hero { background: url("data:image/png;base64,iVBORw0KGgo=") no-repeat, linear-gradient(90deg, red, rgb(0 0 0 / 50%)) }
@media (width < 600px) { body { margin: 0 !important; &:hover { color: red } } }
@supports (display: grid) { main { display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)) } }
@keyframes spin { from { transform: rotate(0) } 50% { opacity: .5 } to { transform: rotate(1turn) } }
a[href^="http"]:not(.x):nth-child(2n+1) { filter: blur(2px) drop-shadow(0 0 2px #000) }
.input, #select { color: red }
@layer base, theme;
"""
REFUSED = [
    ("@import 'x';", "@import is not allowed"),
    ("@\\69mport url(x);", "@import is not allowed"),
    ("@IMPORT 'x';", "@IMPORT is not allowed"),
    ("@charset 'utf-8';", "@charset is not allowed"),
    ("@font-face { font-family: x; src: local(x) }", "@font-face is not allowed"),
    ("@namespace url(x);", "@namespace is not allowed"),
    ("a { background: url(//evil.example) }", "url() may hold nothing but an image"),
    ("a { background: URL( 'https://evil.example' ) }", "url() may hold nothing but an image"),
    ("a { background: u\\72l(//evil.example) }", "url() may hold nothing but an image"),
    ("a { --x: url(//evil.example) }", "url() may hold nothing but an image"),
    ("a { background: url(data:image/svg+xml;base64,AAAA) }", "url() may hold nothing but an image"),
    ("a { background: url(data:text/html;base64,AAAA) }", "url() may hold nothing but an image"),
    ("a { background: url(data:image/png;base64,AA,AA) }", "url() may hold nothing but an image"),
    ("a { background: image-set('x' 1x) }", "image-set() is not allowed"),
    ("a { background: -webkit-image-set('x' 1x) }", "-webkit-image-set() is not allowed"),
    ("a { background: src('x') }", "src() is not allowed"),
    ("a { background: element(#x) }", "element() is not allowed"),
    ("a { content: attr(value) }", "attr() is not allowed"),
    ("a { width: expression(alert(1)) }", "expression() is not allowed"),
    ("a { width: expr/**/ession(1) }", "ession() is not allowed"),
    ("a { behavior: x }", "behavior is not allowed"),
    ("a { b\\65havior: x }", "behavior is not allowed"),
    ("a { -moz-binding: x }", "-moz-binding is not allowed"),
    ("a { filter: progid:X(src='y') }", "X() is not allowed"),
    ("a { -ms-filter: 'x' }", "the property -ms-filter is not allowed"),
    ("a {} </style><script>", "would end the style element"),
    ("a { content: '</STYLE>' }", "would end the style element"),
    ("<!-- a {} -->", "would end the style element"),
    ("input { color: red }", "selectors may not reach <input>"),
    ("a INPUT:hover { color: red }", "selectors may not reach <input>"),
    ("\\69nput { color: red }", "selectors may not reach <input>"),
    (":is(a, :not(textarea)) { color: red }", "selectors may not reach <textarea>"),
    ("a { input:hover { color: red } }", "selectors may not reach <input>"),
    ("@media print { form { color: red } }", "selectors may not reach <form>"),
    ("*|select { color: red }", "selectors may not reach <select>"),
    ("[value^='a'] { color: red }", "may not ask for the attribute [value]"),
    ("a[ type = password ] { color: red }", "may not ask for the attribute [type]"),
    (":-webkit-autofill { color: red }", "may not ask for :-webkit-autofill"),
    ("::placeholder { color: red }", "may not ask for :placeholder"),
    ("a { --x: { input { color: red } } }", "a value can't hold { }"),
    ("a { color: red", "is not closed"),
    ("a { content: 'x", "is not closed"),
    ("/* x", "is not closed"),
    ("a {} \\", "is not closed"),
    ("a {} }", "can't be read"),
    ("a { background: url(x y) }", "can't be read"),
    ("a { color: \x00 }", "control characters are not allowed"),
    ("a { color: " + "(" * 30 + ")" * 30 + " }", "nested deeper than 20 levels"),
    ("a {} " * 10_001, "at most 50,000 characters"),
]


def test_what_themes_need_is_kept():
    assert css.problems(FINE) == [] and css.problems("") == []


@pytest.mark.parametrize(("text", "fault"), REFUSED, ids=lambda value: repr(value)[:40])
def test_the_rest_is_refused_in_words(text, fault):
    found = css.problems(text)
    assert found and any(fault in sentence for sentence in found), found


@pytest.mark.parametrize("text", [text for text, _ in REFUSED if len(text) < 100 and "</" not in text and "}" in text])
def test_and_nowhere_else_either(text):
    """Inside another rule, and behind other lines, with the number of its own."""
    assert css.problems(f"p {{}}\n\n{text}")[0].startswith("Line 3:")
    assert css.problems(f"@media print {{\n{text}\n}}")


@given(st.text(alphabet="aui:{}()[]\\;'\"/*@<!-> \n0\x00url,.#é", max_size=60))
def test_whatever_is_sent_is_judged(text):
    assert isinstance(css.problems(text), list)
    assert isinstance(keys.problems("shadow", text), list) and isinstance(keys.problems("font_family", text), list)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("primary_color", "rgb(1 2 3"), ("primary_color", "red/*"), ("primary_color", "red/**/"), ("text_color", "#fff\n"),
        ("shadow", "0 0 2px rgb(1 2 3"), ("shadow", "0 0 2px red/*"), ("shadow", "0 0 2px #00"), ("shadow", "none;"),
        ("font_family", "'Arial"), ("font_family", "Arial\\"), ("font_family", ""), ("radius", "１px"), ("radius", "1px/*"),
    ],
)  # fmt: skip
def test_a_value_leaves_nothing_open_in_the_sheet_that_sign_in_pages_load(key, value):
    assert keys.problems(key, value)


@given(
    st.sampled_from(["primary_color", "shadow", "font_family", "radius"]),
    st.text(alphabet="0123rgbapxe#()'\"/*\\;{}, -%\n", max_size=24),
)
def test_what_is_taken_stays_one_declaration(key, value):
    if keys.problems(key, value):
        return
    parsed = tinycss2.parse_stylesheet(f"a {{ --x: {value}; }} b {{}}", skip_whitespace=True)
    assert [rule.type for rule in parsed] == ["qualified-rule"] * 2
    [declared] = tinycss2.parse_blocks_contents(parsed[0].content, skip_whitespace=True)
    assert declared.type == "declaration" and all(part.type != "error" for part in declared.value)


PARTS = st.floats(0, 1)
SOME = st.builds(Colour, PARTS, PARTS, PARTS, PARTS).map(str)
NAMES = [prefix + key.name for key in COLOURS for prefix in ("", DARK)]


@given(st.dictionaries(st.sampled_from(NAMES), SOME))
def test_text_of_our_pages_can_be_read_under_any_theme(settings):
    for found in palette.palettes(settings):
        if found is None:
            continue
        for ink in ("text", "soft", "accent", "bad", "good", "other", "key", "string"):
            for ground in ("page", "card"):
                shown = [colours.parse(str(found.colours[name])) for name in (ink, ground)]  # as the sheet has them
                assert contrast(*shown) >= READABLE - 0.05
        assert contrast(found.colours["on-accent"], found.colours["accent"]) >= READABLE - 0.05


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("#0f0", "#00ff00"), ("#808080ff", "#808080"), ("#00ff0080", "#00ff0080"), ("rgb(1 2 3)", "#010203"),
        ("rgba(255, 0, 0, 0.5)", "#ff000080"), ("hsl(120 100% 50%)", "#00ff00"), ("ReD", "#ff0000"),
        ("hwb(0 0% 0%)", "#ff0000"), ("currentColor", None), ("blurple", None), ("rgb(1e999 0 0)", None),
        ("oklch(60% 0.1 50)", None), ("#12345", None), ("red;", None), ("", None),
    ],
)  # fmt: skip
def test_colours_are_read_as_css_writes_them(text, shown):
    found = colours.parse(text)
    assert (None if found is None else str(found)) == shown
