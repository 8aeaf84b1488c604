"""Time codes: counted as SMPTE ST 12-1 has it."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.source.timing.timecode import counted_on

NTSC, FAST = Fraction(30000, 1001), Fraction(60000, 1001)


@pytest.mark.parametrize(
    ("text", "rate", "frames", "every", "expected"),
    [
        ("01:00:00:05", Fraction(25), 0, 1, "01:00:00:05"),
        ("01:00:00:05", Fraction(25), 45, 1, "01:00:02:00"),
        ("23:59:59:24", Fraction(25), 1, 1, "00:00:00:00"),
        # Two numbers are left out at the first minute, none at the tenth.
        ("00:00:59;29", NTSC, 1, 1, "00:01:00;02"),
        ("00:09:59;29", NTSC, 1, 1, "00:10:00;00"),
        ("00:00:00;00", NTSC, 17982, 1, "00:10:00;00"),
        ("00:00:00;00", NTSC, 107892, 1, "01:00:00;00"),
        ("00:00:59;59", FAST, 1, 1, "00:01:00;04"),
        # Every second frame of 59.94 is a film of 29.97; a third of 29.97 has no drop frames.
        ("00:00:59;59", FAST, 1, 2, "00:01:00;02"),
        ("01:00:00:48", Fraction(50), 1, 2, "01:00:00:24"),
        ("01:00:00;27", NTSC, 1, 3, "01:00:00:09"),
    ],
)
def test_counting(text: str, rate: Fraction, frames: int, every: int, expected: str) -> None:
    assert counted_on(text, rate, frames, every) == expected


@given(start=st.integers(0, 10**7), one=st.integers(0, 10**5), two=st.integers(0, 10**5))
@pytest.mark.parametrize(("sign", "rate"), [(";", NTSC), (";", FAST), (":", Fraction(24))])
def test_counting_on_twice_is_counting_on_once(
    sign: str, rate: Fraction, start: int, one: int, two: int
) -> None:
    begin = counted_on(f"00:00:00{sign}00", rate, start, 1)
    assert counted_on(counted_on(begin, rate, one, 1), rate, two, 1) == counted_on(
        begin, rate, one + two, 1
    )
