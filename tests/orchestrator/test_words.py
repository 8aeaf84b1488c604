"""Words for people."""

from __future__ import annotations

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.words import clock, counted, printable, readable_size


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


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (7325, "2:02:05")]
)
def test_clock(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


@pytest.mark.parametrize(("count", "shown"), [(0, "0 lanes"), (1, "1 lane"), (2, "2 lanes")])
def test_counted(count: int, shown: str) -> None:
    assert counted(count, "lane") == shown


@pytest.mark.parametrize(
    ("size", "shown"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2.5e12, "2.5 TB")]
)
def test_readable_size(size: float, shown: str) -> None:
    assert readable_size(size) == shown
