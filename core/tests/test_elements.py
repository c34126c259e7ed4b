"""Script, iframe and object elements go, all else stays byte for byte."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.elements import cleaned, without_elements

START = re.compile(r"<(script|iframe|object)([\t\n\f\r />]|\Z)", re.IGNORECASE | re.ASCII)
_WORDS = "< > </ scr ipt <script <script> </script> <object </object> ob ject <iframe </iframe> / = \" ' a é &lt;script&gt; <p> <!--"
PIECES = st.lists(st.sampled_from([*_WORDS.split(), " ", "\n", "<SCRIPT "]), max_size=25).map("".join)
QUIET = settings(max_examples=300, deadline=None, database=None)
PLAIN = st.text().filter(lambda text: "<" not in text)
ELEMENT = st.sampled_from(
    [
        "<script>alert(1)</script>",
        "<ScRiPt src=x\n>1 < 2</sCrIpT\t>",
        "<script x='</script>'>a</script >",
        '<iframe src="a>b"></iframe>',
        "<object data=a><object data=b>x</object>y</object>",
    ]
)


@QUIET
@given(PIECES)
def test_no_start_tag_is_left_and_doing_it_again_changes_nothing(text):
    found = without_elements(text)
    assert not START.search(found)
    assert without_elements(found) == found


@QUIET
@given(st.one_of(PIECES, st.text()))
def test_a_text_without_a_start_tag_stays_as_it_is(text):
    if not START.search(text):
        assert without_elements(text) == text


@QUIET
@given(PLAIN, ELEMENT, PLAIN, ELEMENT, PLAIN)
def test_what_stands_around_elements_stays(before, first, between, second, after):
    assert without_elements(before + first + between + second + after) == before + between + after


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("a<scr<script>1</script>ipt>b</script>c", "ac"),
        ("<scr<iframe></iframe>ipt>x</script>", ""),
        ("Use the <script> tag to load code.", "Use the  tag to load code."),
        ("<scripty>stays</scripty> and </script> too", "<scripty>stays</scripty> and </script> too"),
        ("1 < 2 && <b onclick=x>bold</b>", "1 < 2 && <b onclick=x>bold</b>"),
        ("&lt;script&gt;", "&lt;script&gt;"),
        ("<ſcript>no such element</ſcript>", "<ſcript>no such element</ſcript>"),
        ("<object>never closed <b>x</b>", "never closed <b>x</b>"),
        ("<script", ""),
    ],
)
def test_the_odd_cases(text, left):
    assert without_elements(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "<scr" * 100_000 + "<script></script>" + "ipt></script>" * 100_000,
        "<script>" * 300_000,
        "<script " * 300_000,
        '<script a="' * 300_000,
        "<object>" * 300_000 + "</object>",
        "<scr<iframe>" * 200_000 + "</iframe>",
    ],
)
def test_hostile_texts_take_time_in_proportion(text):
    started = time.process_time()
    without_elements(text)
    assert time.process_time() - started < 10


def test_only_texts_are_touched_and_no_passwords():
    body = {
        "a": ["x<script>1</script>", {"b": "<iframe></iframe>y"}],
        "n": 1,
        "t": True,
        "password": "<script>pw</script>",
    }
    assert cleaned(body) == {"a": ["x", {"b": "y"}], "n": 1, "t": True, "password": "<script>pw</script>"}
