"""Stereo as a GPU runs it: by a graph, and told of one batch while the next is asked about.

Doubles of graphs and of copies that arrive as late as they may; launches are counted on tensors
without data.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import Any

import pytest
import torch
from structlog.testing import capture_logs

from benchmarks.launches import Launches
from pipeline.contract import EyeShape, Finding, StereoSettings, VideoSettings
from pipeline.engines.cuda_graph import Capture
from pipeline.kernels import choice
from pipeline.kernels.by_triton import KernelWay
from pipeline.kernels.launch import watched
from pipeline.pixels.layers import Layers
from pipeline.stages.stereo import observer
from pipeline.stages.stereo.stage import DISAGREEMENT, Stereo, make
from tests.pipeline.flow.test_device_copies import LateTransfer
from tests.pipeline.stages.matting.rvm.test_cuda import Graphs, refuse
from tests.pipeline.stages.stereo.test_stereo import clip, damaged_eye, with_a_ghost, without_legs

FRAMES = 4

pytestmark = pytest.mark.usefixtures("one_thread", "_no_graphs_of_others")


@pytest.fixture
def _no_graphs_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    observer._idle.clear()
    monkeypatch.setattr(observer, "_told", set())


def through(stage: Stereo, layers: Layers, chunk: int) -> tuple[list[Layers], Any]:
    """What comes out of each batch and then of what was held back; the state."""
    height, width = layers.rgb.shape[-2:]
    state = stage.start(EyeShape(2, height, width, "equirect180", Fraction(30)), {})
    out = []
    for first in range(0, len(layers), chunk):
        part = layers.part(first, first + chunk)
        assert part is not None
        out.append(stage.run(part, state))
    while (held := stage.flush(state)) is not None:
        out.append(held)
    return [part for part in out if part is not None], state


def result(stage: Stereo, layers: Layers, chunk: int) -> tuple[Layers, tuple[Finding, ...]]:
    parts, state = through(stage, layers, chunk)
    assert [part.start for part in parts] == list(range(0, len(layers), chunk))
    whole = Layers(
        0,
        torch.cat([part.rgb for part in parts]),
        torch.cat([part.matte.alpha for part in parts]),
        torch.cat([part.foreground for part in parts if part.foreground is not None]),
        figures={DISAGREEMENT: sum((part.figures[DISAGREEMENT] for part in parts), ())},
    )
    return whole, stage.findings(state, 0, len(layers))


@cache
def expected_result() -> tuple[Layers, tuple[Finding, ...]]:
    """At once, and by single calls."""
    return result(Stereo(StereoSettings()), damaged(), FRAMES)


def damaged() -> Layers:
    """The subject of some frames lacks its legs in one eye, and has a ghost in the other."""
    rgb, truth = clip("room")
    alpha = damaged_eye(truth[:FRAMES], 1, without_legs, range(1, 3))
    alpha = damaged_eye(alpha, 0, with_a_ghost, range(2, 3))
    return Layers(0, rgb[:FRAMES], alpha, rgb[:FRAMES].float() / 255)


def on_gpu(capture: Capture | None) -> Stereo:
    return Stereo(StereoSettings(), waits=True, capture=capture, transfer=LateTransfer())


def test_graphs_and_late_figures_alter_no_bit() -> None:
    layers, graphs = damaged(), Graphs()
    expected, findings = expected_result()
    assert findings, "some frames are mended"
    for capture, chunk in ((graphs, 1), (graphs, 3), (None, 2)):
        found, told = result(on_gpu(capture), layers, chunk)
        assert found.alpha is not None
        assert expected.alpha is not None
        assert found.foreground is not None
        assert expected.foreground is not None
        assert torch.equal(found.alpha, expected.alpha)
        assert torch.equal(found.foreground, expected.foreground)
        assert found.figures == expected.figures
        assert told == findings
    assert graphs.captured == 1, "the next segment takes the graph of the one before"
    assert graphs.replayed >= 2 * FRAMES


def test_a_batch_is_held_until_the_next_was_asked_about() -> None:
    layers = damaged()
    height, width = layers.rgb.shape[-2:]
    stage = on_gpu(None)
    state = stage.start(EyeShape(2, height, width, "equirect180", Fraction(30)), {})
    parts = [layers.part(first, first + 2) for first in (0, 2)]
    assert parts[0] is not None
    assert parts[1] is not None
    assert stage.run(parts[0], state) is None
    first = stage.run(parts[1], state)
    assert first is not None
    assert (first.start, first.stop) == (0, 2)
    last = stage.flush(state)
    assert last is not None
    assert (last.start, last.stop) == (2, 4)
    assert stage.flush(state) is None


def test_one_eye_is_not_held_back() -> None:
    layers = damaged()
    single = Layers(0, layers.rgb[:, :1], None if layers.alpha is None else layers.alpha[:, :1])
    stage = on_gpu(refuse)
    state = stage.start(
        EyeShape(1, layers.rgb.shape[-2], layers.rgb.shape[-1], "flat", Fraction(30)), {}
    )
    assert stage.run(single, state) is not None


@pytest.mark.parametrize("why", ["cannot", "other bits"])
def test_without_a_right_graph_it_goes_on_without_and_says_so_once(why: str) -> None:
    layers = damaged()
    expected, _ = expected_result()

    def spoil() -> None:  # as if another state were replayed
        for graphed in spoilt:
            graphed._past.reference.add_(1)

    spoilt: list[observer.GraphedObserver] = []
    real = observer.GraphedObserver.capture

    def captured(graphed: observer.GraphedObserver, capture: Capture) -> str | None:
        spoilt.append(graphed)
        reason = real(graphed, capture)
        spoilt.clear()
        return reason

    with pytest.MonkeyPatch.context() as patched, capture_logs() as logs:
        patched.setattr(observer.GraphedObserver, "capture", captured)
        for _ in range(2):
            observer._idle.clear()
            found, _ = result(on_gpu(refuse if why == "cannot" else Graphs(spoil)), layers, 2)
            assert found.alpha is not None
            assert expected.alpha is not None
            assert torch.equal(found.alpha, expected.alpha)
    told = [log["reason"] for log in logs if log["event"] == "no_cuda_graph"]
    assert len(told) == 1
    assert ("same bits" in told[0]) == (why == "other bits")


@pytest.mark.parametrize("graphs", [True, False])
def test_a_frame_takes_few_launches_and_no_wait(graphs: bool) -> None:
    counter = Launches()
    capture = counter.capture if graphs else None
    stage = Stereo(StereoSettings(), waits=True, capture=capture, transfer=counter.transfer)
    picture = torch.empty(1, 2, 3, 512, 512, dtype=torch.uint8, device="meta")
    layers = Layers(0, picture, torch.empty(1, 2, 1, 512, 512, device="meta"))
    with counter.of():
        state = stage.start(EyeShape(2, 512, 512, "equirect180", Fraction(30)), {})
        stage.run(layers, state)
    with counter.of() as counts:
        stage.run(replace(layers, start=1), state)
    assert counts.waits == 0
    assert counts.launches < (60 if graphs else 400)
    assert graphs or counts.launches > 60, "as many as there are without a graph"


def test_by_kernels_whole_pictures_are_read_once_and_never_held_as_floats(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    meta = torch.device("meta")
    monkeypatch.setattr(choice, "_kept", {str(meta): KernelWay(strict=True)})
    picture = torch.empty(1, 2, 3, 4096, 4096, dtype=torch.uint8, device=meta)
    matte = torch.empty(1, 2, 1, 4096, 4096, dtype=torch.float16, device=meta)
    read = []
    counter, stage = Launches(), make(VideoSettings(), meta)
    with counter.of() as counts, watched(lambda name, size, _: read.append(size)):
        state = stage.start(EyeShape(2, 4096, 4096, "equirect180", Fraction(30)), {})
        stage.run(Layers(0, picture, matte), state)
    assert read == [picture.nbytes, matte.nbytes]
    assert counts.peak_bytes < picture.nbytes
