"""Text of others can be shown on a terminal and in a page, whatever is in it."""

from __future__ import annotations

import os
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from pipeline.text import printable


@given(st.binary(max_size=20))
def test_any_file_name_can_be_shown(name: bytes) -> None:
    shown = printable(os.fsdecode(name))
    assert all(unicodedata.category(c)[0] != "C" or c in "\u200c\u200d" for c in shown)
    assert len(shown.splitlines()) <= 1
    shown.encode()


def test_names_in_the_words_of_others_are_left_alone() -> None:
    for name in (
        "👩\u200d🎤.mp4",
        "क्\u200dष.mp4",
        "会議\u3000録画.mp4",
        "at 3.45\u202fPM.mov",
    ):
        assert printable(name) == name
    for hostile in ("\u202e", "\u2066", "\u200f", "\x1b", "\u2028", "\x85", "\n"):
        assert printable(hostile) == "\N{REPLACEMENT CHARACTER}"


@given(st.text(st.characters(categories=("L", "N", "P", "Zs")), max_size=20))
def test_what_can_be_shown_is_left_alone(text: str) -> None:
    assert printable(text) == text or not text.isprintable()


@given(st.text(max_size=20), st.integers(1, 30))
def test_a_long_text_is_cut(text: str, longest: int) -> None:
    shown, whole = printable(text, longest), printable(text)
    assert len(shown) == min(len(text), longest)
    assert shown == whole if len(text) <= longest else shown == whole[: longest - 1] + "\u2026"


def test_lone_surrogates_can_be_shown() -> None:
    assert printable("a\ud800b\udcff") == "a\ufffdb\ufffd"
