"""Which parts of the nearest layer are the subject, and whether a video has one at all.

Pure arrays at the size at which the eyes are matched. Knows no torch and no matching.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.stages.matting.depth.layers import Layer
from pipeline.stages.matting.depth.matching import Bytes, Mask

#: Parts are shares of the eye. Smaller ones are noise, and a subject of less is not worth a matte.
_LEAST_PART, _LEAST_SUBJECT = 0.0003, 0.003
_MOST_SUBJECT = 0.6  # of the eye: then the layers are not subject and background
_LEAST_MEASURED = 0.15  # of a part: the rest is filled in
#: Share of the upper border that a ceiling covers; width and height of a strip of ground, as shares
#: of the eye's.
_CEILING, _GROUND_WIDTH, _GROUND_HEIGHT = 0.4, 0.7, 0.35
#: What a part at the left or right border counts against one in the middle, and what one counts
#: that never moves in the whole video.
_ASIDE, _STILL = 0.4, 0.05
_STILL_SHARE = 0.7  # of a part that never moves
#: Another subject has at least so much of the first one's score; a limb that is cut off from it by
#: a gap of this share of the eye's width has at least the second.
_OTHER, _LIMB, _NEARBY = 0.2, 0.015, 0.06

_SAME_PLACE = 8  # grey levels of the median difference of what does not move
_NEARLY_ALWAYS = 0.8  # share of the sampled frames
_LEAST_WHOLE = 0.5  # share of the layer that the subject must be, or it is scattered
_EYES_ALIKE = 0.6  # its areas in the two eyes: smaller / larger


@dataclass(frozen=True, slots=True)
class Subject:
    """Of one frame.

    Attributes:
        mask: bool ``[2, h, w]``.
        doubt: why it may be none, to follow "what stands nearer"; empty if there is no doubt.
    """

    mask: Mask
    doubt: str


def chosen(layer: Layer, still: Mask | None) -> Subject:
    """The parts of a layer that are the subject.

    Args:
        still: ``[2, h, w]``, what never moves; see `standing_still`.
    """
    masks, measured = [], []
    for eye in range(len(layer.near)):
        near, known = layer.near[eye], layer.known[eye]
        mask = _chosen_parts(near, known, None if still is None else still[eye])
        masks.append(mask)
        measured.append(int(np.count_nonzero(known & mask)))
    mask = np.stack(masks)
    return Subject(mask, _doubt(mask, layer.near, sum(measured)))


def _chosen_parts(near: Mask, known: Mask, still: Mask | None) -> Mask:
    height, width = near.shape
    number, labels, stats, centres = cv2.connectedComponentsWithStats(near.astype(np.uint8))
    if number == 1:
        return near
    areas = stats[:, cv2.CC_STAT_AREA].astype(np.float64)
    score = areas * (areas >= _LEAST_PART * near.size)
    score[0] = 0  # what is not near
    score *= np.bincount(labels[known], minlength=number) >= _LEAST_MEASURED * areas
    aside = np.abs(centres[:, 0] / width - 0.5) * 2
    score *= 1 - (1 - _ASIDE) * aside**2
    score[np.bincount(labels[0], minlength=number) > _CEILING * width] = 0
    wide = stats[:, cv2.CC_STAT_WIDTH] > _GROUND_WIDTH * width
    low = stats[:, cv2.CC_STAT_HEIGHT] < _GROUND_HEIGHT * height
    score[wide & low] = 0
    if still is not None:
        score[np.bincount(labels[still], minlength=number) > _STILL_SHARE * areas] *= _STILL
    best = int(np.argmax(score))
    kept = (score > 0) & (
        (score >= _OTHER * score[best])
        | ((score >= _LIMB * score[best]) & (_apart(stats, best) <= _NEARBY * width))
    )
    mask: Mask = kept[labels]
    return mask


def _apart(stats: NDArray[np.int32], best: int) -> NDArray[np.int32]:
    """Pixels between the box of each part and that of one of them, the larger of both axes."""
    first = stats[:, [cv2.CC_STAT_LEFT, cv2.CC_STAT_TOP]]
    last = first + stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]]
    apart: NDArray[np.int32] = np.maximum(first - last[best], first[best] - last).max(axis=1)
    return apart


def _doubt(mask: Mask, near: Mask, measured: int) -> str:
    areas = mask.sum(axis=(1, 2))
    whole, eye = int(areas.sum()), mask[0].size
    if whole < 2 * _LEAST_SUBJECT * eye:
        return "is no compact part of the picture, or a very small one"
    if whole > 2 * _MOST_SUBJECT * eye:
        return f"fills {whole / mask.size:.0%} of it"
    if areas.min() < _EYES_ALIKE * areas.max():
        return "is not the same in both eyes"
    if measured < _LEAST_MEASURED * whole:
        return "has too little texture"
    if whole < _LEAST_WHOLE * np.count_nonzero(near):
        return "lies all over it"
    return ""


def standing_still(greys: Sequence[Bytes], layers: Sequence[Layer | None]) -> Mask:
    """Where nearly always the same thing is near, in frames from all over the video.

    That is furniture and ground, and also a subject that does not move. Under a moving camera it is
    nothing.

    Args:
        greys: uint8 ``[2, h, w]``, one a frame.
        layers: of the same frames.
    """
    pictures = np.stack(greys)
    middle = np.sort(pictures, axis=0)[len(pictures) // 2]
    near = [np.zeros_like(middle, bool) if layer is None else layer.near for layer in layers]
    same = np.stack([_alike(picture, middle) for picture in pictures]) & np.stack(near)
    still: Mask = same.sum(axis=0) >= _NEARLY_ALWAYS * len(pictures)
    return still if len(pictures) > 2 else np.zeros_like(still)


def _alike(picture: Bytes, middle: Bytes) -> Mask:
    return np.asarray(cv2.absdiff(picture, middle)) <= _SAME_PLACE


def reason_against(subjects: Sequence[Subject | None]) -> str | None:
    """Why a video has no reliable subject, in words, or None if it has one.

    Args:
        subjects: of frames from all over it; None where nothing stands nearer.
    """
    doubts = [subject.doubt for subject in subjects if subject is not None]
    if not doubts:
        return f"nothing stands nearer than the rest in {len(subjects)} sampled frames"
    doubted = [doubt for doubt in doubts if doubt]
    if 2 * len(doubted) < len(doubts):
        return None
    worst, _ = Counter(doubted).most_common(1)[0]
    return (
        f"no reliable subject: in {len(doubted)} of {len(subjects)} sampled frames what stands"
        f" nearer {worst}"
    )
