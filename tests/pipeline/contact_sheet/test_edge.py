"""Which edge is shown at 1:1."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.contact_sheet.edge import Edge, cut_size, find_edge

#: (height, width) of the eye and of the cut.
EYE, CUT = (1200, 1000), (120, 240)


def _person(head: tuple[int, int], radius: int = 60) -> NDArray[np.uint8]:
    """A head on a body, which stands on the lower edge."""
    alpha = np.zeros(EYE, np.uint8)
    cv2.circle(alpha, head, radius, 255, -1)
    cv2.rectangle(alpha, (head[0] - 100, head[1] + radius), (head[0] + 100, EYE[0]), 255, -1)
    return alpha


def _found(alpha: NDArray[np.uint8]) -> Edge:
    edge = find_edge(alpha, CUT)
    assert edge is not None
    assert 0 <= edge.left <= EYE[1] - CUT[1]
    assert 0 <= edge.top <= EYE[0] - CUT[0]
    part = alpha[edge.top : edge.top + CUT[0], edge.left : edge.left + CUT[1]]
    assert 0.05 < (part >= 128).mean() < 0.95, "no edge in the cut"
    return edge


def test_it_is_in_the_upper_part_of_the_subject() -> None:
    edge = _found(_person((400, 500)))
    assert 440 - CUT[0] < edge.top < 440 + 200
    assert abs(edge.left + CUT[1] / 2 - 400) < 240


def test_a_subject_is_preferred_to_a_larger_sky() -> None:
    person = _person((700, 700))
    sky = person.copy()
    sky[:500] = 255
    alone, below = _found(person), _found(sky)
    assert (alone.left, alone.top) == (below.left, below.top)
    only_sky = np.zeros(EYE, np.uint8)
    only_sky[:500] = 255
    assert not _found(only_sky).is_free
    assert _found(only_sky) < below  # of two frames it would be the other


def test_a_subject_at_the_border_is_cut_within_the_picture() -> None:
    for head in ((0, 30), (EYE[1] - 1, 0), (EYE[1] - 1, EYE[0] - 100)):
        _found(_person(head))


def test_there_is_none_where_nobody_is() -> None:
    nothing = np.zeros(EYE, np.uint8)
    assert find_edge(nothing, CUT) is None
    assert find_edge(np.full(EYE, 255, np.uint8), CUT) is None
    assert find_edge(np.full(EYE, 100, np.uint8), CUT) is None
    nothing[600:610, 500:510] = 255  # a speck
    assert find_edge(nothing, CUT) is None


def test_a_cut_is_no_larger_than_the_eye() -> None:
    assert cut_size((4096, 4096), 640) == (320, 640)
    assert cut_size((96, 192), 640) == (96, 192)
    tiny = np.zeros((2, 2), np.uint8)
    tiny[1:] = 255
    find_edge(tiny, cut_size((2, 2), 640))
