"""Prompts as a run keeps them: the same words, whatever they were written like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import DiskError, SettingsError
from pipeline.prompts.prompts import Point, Prompt, Prompts
from pipeline.prompts.store import (
    Said,
    SaidOfVideo,
    digest_of,
    keep_prompts,
    kept_prompts,
    pack,
    read_mask,
    unpack,
)


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    path = tmp_path / "mask.png"
    picture = np.zeros((4, 6), np.uint16)
    picture[1, 2], picture[2, 2] = 40000, 20000  # above half of the range, and below
    assert cv2.imwrite(str(path), picture)
    return path


def test_what_is_kept_is_what_was_said(mask: Path, tmp_path: Path) -> None:
    inside, outside = Point(1.5, 2), Point(3, 4, inside=False)
    prompts = Prompts(
        ("a", "b"),
        (
            Prompt(2, 1, 9, mask=mask),
            Prompt(1, 0, 5, (inside,), (1, 2, 3, 4)),
            Prompt(1, 0, 5, (outside,)),
            Prompt(1, 0, 6, (inside,), corrects=False),
        ),
    )
    packed = pack(prompts)
    keep_prompts(tmp_path / "work", packed)
    said = unpack(kept_prompts(tmp_path / "work", digest_of(packed)))
    assert said.names == ("a", "b")
    assert said.at(5, 0) == [Said(1, 0, 5, True, (inside, outside), (1, 2, 3, 4))]
    assert said.at(6, 0) == [Said(1, 0, 6, False, (inside,))]
    assert said.at(9, 1) == [Said(2, 1, 9, True, mask=mask.read_bytes())]
    assert said.at(9, 0) == ()
    marked = read_mask(mask.read_bytes())
    assert marked is not None
    assert np.argwhere(marked).tolist() == [[1, 2]]
    mask.write_bytes(b"changed later")
    assert kept_prompts(tmp_path / "work", digest_of(packed)) == packed


def test_the_order_in_which_prompts_are_written_is_no_difference() -> None:
    some = (Prompt(1, 0, 5, (Point(1, 1),)), Prompt(2, 0, 3, (Point(2, 2),)))
    assert pack(Prompts(("a", "b"), some)) == pack(Prompts(("a", "b"), some[::-1]))


def test_a_mask_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.png"

    def refusal() -> str:
        with pytest.raises(SettingsError) as caught:
            pack(Prompts(("hoop",), (Prompt(1, 0, 0, mask=path),)))
        return str(caught.value)

    assert "cannot be read: No such file" in refusal()
    path.write_bytes(b"no picture")
    assert "object 'hoop' cannot be read as a picture" in refusal()
    assert cv2.imwrite(str(path), np.zeros((4, 4), np.uint8))
    assert "marks nothing" in refusal()


def test_what_is_gone_or_damaged_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="cannot be read"):
        kept_prompts(tmp_path, digest_of(b"text"))
    keep_prompts(tmp_path, b"text")
    with pytest.raises(DiskError, match="is damaged"):
        kept_prompts(tmp_path, digest_of(b"other"))


frames = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 1), st.integers(0, 50)), max_size=12)


@given(frames, st.integers(1, 3), st.integers(0, 50), st.integers(0, 1))
def test_nothing_is_nearer_than_the_nearest(
    places: list[tuple[int, Any, int]], number: int, frame: int, eye: int
) -> None:
    said = SaidOfVideo(("a", "b", "c"), (Said(o, e, f, True) for o, e, f in places))
    found = said.nearest(number, frame, eye)
    there = [f for o, e, f in places if (o, e) == (number, eye)]
    assert said.speaks_of(number, eye) == bool(there)
    if found is None:
        assert not there
    else:
        assert (found.object_id, found.eye) == (number, eye)
        assert found.frame == min(there, key=lambda f: (abs(f - frame), f))
