"""What every matting model promises, whatever it computes: one suite over all that are built in.

`rvm` needs code and weights: it takes part where VRMATTE_RVM_REPO names a local copy of its
repository and VRMATTE_RVM_WEIGHTS a file of weights for it. `sam2` and `sam2+rvm` need weights:
they take part where VRMATTE_SAM2_CHECKPOINT names them, and VRMATTE_SAM2_SIZE their size; what they
promise is tested with random ones in `test_sam2.py` and `test_sam2_edge.py`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from orchestrator.demo.scene import Scene
from pipeline.contract import MattingSettings, ProcessingSettings
from pipeline.engines.choice import settled_engine
from pipeline.errors import InputError
from pipeline.pixels.batches import EyeBatch, MatteBatch
from pipeline.stages.matting.base import MattingModel, Prepared, load_model
from pipeline.stages.matting.catalogue import MODELS
from tests.pipeline.demo_truth import SMALL, SMALL_FRAMES, Clip, scene_clip

CHUNK = 4

_RVM = {
    "repo": os.environ.get("VRMATTE_RVM_REPO"),
    "weights": os.environ.get("VRMATTE_RVM_WEIGHTS"),
}
_SAM2 = {
    "checkpoint": os.environ.get("VRMATTE_SAM2_CHECKPOINT"),
    "size": os.environ.get("VRMATTE_SAM2_SIZE", "small"),
    "seed": "depth",
    "edge": "depth",
}
_OPTIONS: dict[str, dict[str, Any]] = {"rvm": _RVM, "sam2": _SAM2, "sam2+rvm": _SAM2}
NAMES = [name for name in MODELS.built_in if all(_OPTIONS.get(name, {}).values())]

#: How far alpha and foreground may move with the number of frames in a chunk: not at all where a
#: frame is computed by itself.
CHUNK_TOLERANCE = {"rvm": 1e-4}

#: Models that need two eyes.
STEREO_ONLY = {"depth", "sam2", "sam2+rvm"}  # the latter by their seed

pytestmark = pytest.mark.usefixtures("one_thread")


def clip_for(name: str) -> Clip:
    return scene_clip(MODELS[name].backdrop)


@cache
def model(name: str) -> MattingModel:
    row = MODELS[name]
    own = () if row.options is None else (row.options(**_OPTIONS.get(name, {})),)
    settings = MattingSettings(model=name, options=own)
    processing = settled_engine(ProcessingSettings(), row.engines, "cpu")
    return load_model(settings, processing, torch.device("cpu"))


@cache
def prepared(name: str) -> Prepared:
    return model(name).prepare(clip_for(name))


def matte(name: str, clip: Clip, chunks: Sequence[int], using: Prepared | None = None) -> Matte:
    """Matte the clip from a fresh state, so many frames at a time."""
    found = prepared(name) if using is None else using
    state = model(name).start(clip.eyes, clip.height, clip.width, found)
    results, start = [], 0
    for length in chunks:
        batch = EyeBatch(clip.rgb[start : start + length], start)
        results.append(checked(model(name).matte(batch, state), batch))
        start += length
    return join(results)


Matte = tuple[Tensor, Tensor | None]


def join(results: Sequence[MatteBatch]) -> Matte:
    colours = [result.foreground for result in results if result.foreground is not None]
    assert len(colours) in (0, len(results)), "foreground must be there always or never"
    alpha = torch.cat([result.alpha for result in results])
    return alpha, torch.cat(colours) if colours else None


def checked(result: MatteBatch, batch: EyeBatch) -> MatteBatch:
    """Shape, type and range."""
    assert result.start == batch.start
    assert len(result) == len(batch)
    frames, eyes, _, height, width = batch.rgb.shape
    assert tuple(result.alpha.shape) == (frames, eyes, 1, height, width)
    assert result.alpha.device == batch.rgb.device
    for planes in (result.alpha, result.foreground):
        if planes is not None:
            assert planes.is_floating_point()
            assert bool(planes.isfinite().all())
            assert float(planes.min()) >= 0
            assert float(planes.max()) <= 1
    return result


def assert_same(name: str, one: Matte, other: Matte, tolerance: float = 0.0) -> None:
    assert (one[1] is None) == (other[1] is None)
    for a, b in zip(one, other, strict=True):
        if a is not None and b is not None:
            distance = float((a.float() - b.float()).abs().max())
            assert distance <= tolerance, f"{name}: {distance}"


every_model = pytest.mark.parametrize("name", NAMES)


@every_model
def test_says_who_it_is(name: str) -> None:
    assert model(name).name == name
    assert model(name).warmup_frames >= 0


@every_model
def test_what_is_prepared_is_plain_tensors_and_the_same_every_time(name: str) -> None:
    again = model(name).prepare(clip_for(name))
    assert set(again) == set(prepared(name))
    for key, value in prepared(name).items():
        assert isinstance(value, Tensor)
        assert torch.equal(again[key], value)


@every_model
def test_finds_the_figure_in_both_eyes(name: str) -> None:
    clip = clip_for(name)
    alpha, _ = matte(name, clip, [CHUNK, SMALL_FRAMES - CHUNK])
    scene = Scene(SMALL_FRAMES, eye_size=SMALL)
    for frame in range(SMALL_FRAMES):
        if frame in scene.flash_frames:
            continue  # the lamp is not part of the room
        truth = torch.from_numpy(scene.alpha(frame))
        for eye in (0, 1):
            figure = alpha[frame, eye, 0][truth[eye] > 0.99]
            room = alpha[frame, eye, 0][truth[eye] < 0.01]
            assert float(figure.mean()) > 0.7 > 0.2 > float(room.mean()), (frame, eye)


@every_model
def test_does_not_change_its_input(name: str) -> None:
    clip = clip_for(name)
    before = clip.rgb.clone()
    kept = {key: value.clone() for key, value in prepared(name).items()}
    matte(name, clip, [CHUNK])
    assert torch.equal(clip.rgb, before)
    for key, value in prepared(name).items():
        assert torch.equal(value, kept[key])


@every_model
def test_equal_bit_for_bit_when_repeated(name: str) -> None:
    clip = clip_for(name)
    assert_same(name, matte(name, clip, [CHUNK]), matte(name, clip, [CHUNK]))


@every_model
def test_equal_for_any_chunks(name: str) -> None:
    clip = clip_for(name)
    together = matte(name, clip, [CHUNK])
    tolerance = CHUNK_TOLERANCE.get(name, 0.0)
    for chunks in ([1, 1, 1, 1], [3, 1]):
        assert_same(name, matte(name, clip, chunks), together, tolerance)


@every_model
def test_states_do_not_disturb_each_other(name: str) -> None:
    clip, backwards = clip_for(name), Clip(clip_for(name).rgb.flip(0))
    alone = matte(name, clip, [1] * CHUNK), matte(name, backwards, [1] * CHUNK)
    both = clip, backwards
    states = [model(name).start(c.eyes, c.height, c.width, prepared(name)) for c in both]
    results: tuple[list[MatteBatch], list[MatteBatch]] = ([], [])
    for frame in range(CHUNK):
        for c, state, into in zip(both, states, results, strict=True):
            into.append(model(name).matte(EyeBatch(c.rgb[frame : frame + 1], frame), state))
    for expected, got in zip(alone, results, strict=True):
        assert_same(name, join(got), expected)


@every_model
def test_threads_with_states_of_their_own_give_equal_results(name: str) -> None:
    clip = clip_for(name)
    alone = matte(name, clip, [1] * CHUNK)
    prepared(name)
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(matte, name, clip, [1] * CHUNK) for _ in range(4)]
        for future in running:
            assert_same(name, future.result(timeout=120), alone)


@every_model
def test_odd_eye_sizes(name: str) -> None:
    clip = Clip(clip_for(name).rgb[:2, :, :, : SMALL - 3, : SMALL - 5].contiguous())
    matte(name, clip, [2], model(name).prepare(clip))


@every_model
def test_one_eye_or_a_clear_no(name: str) -> None:
    clip = Clip(clip_for(name).rgb[:, :1].contiguous())
    if name in STEREO_ONLY:
        with pytest.raises(InputError, match="eye"):
            matte(name, clip, [CHUNK], model(name).prepare(clip))
        return
    alpha, _ = matte(name, clip, [CHUNK], model(name).prepare(clip))
    assert float(alpha.max()) > 0.9


@every_model
def test_a_clip_of_one_frame(name: str) -> None:
    clip = Clip(clip_for(name).rgb[:1].clone())
    matte(name, clip, [1], model(name).prepare(clip))
