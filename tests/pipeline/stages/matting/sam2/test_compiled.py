"""Compiled networks without a compiler: which ways go through it, and that it is refused in words.

What a real compiler makes of them is tried where there is a GPU (`tests/gpu/test_sam2.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.contract import MattingSettings, ProcessingSettings
from pipeline.errors import MachineError
from pipeline.stages.matting.base import load_model
from pipeline.stages.matting.sam2.compiled import compile_networks, require_compiler
from pipeline.stages.matting.sam2.facts import Sam2Options
from pipeline.stages.matting.sam2.predictor import BoundedPredictor
from tests.pipeline.sam2_networks import digest, frames_of, random_network

pytestmark = pytest.mark.usefixtures("one_thread")

FRAMES = 4


class Compiler:
    """A double of `torch.compile` that compiles nothing and notes what goes through."""

    def __init__(self) -> None:
        self.options: list[dict[str, Any]] = []
        self.calls: Counter[str] = Counter()

    def __call__(self, function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        self.options.append(options)
        owner = type(getattr(function, "__self__", None)).__name__

        def through(*args: Any, **named: Any) -> Any:
            self.calls[owner] += 1
            return function(*args, **named)

        return through


def answers(network: Any) -> list[int]:
    predictor = BoundedPredictor(network)
    tracking = predictor.start(frames_of(network, FRAMES), 16, 16)
    predictor.add_points(tracking, 0, 1, [(4.0, 5.0), (9.0, 9.0)], [1, 0])
    predictor.add_points(tracking, 0, 2, box=(2.0, 2.0, 9.0, 12.0))
    predictor.add_mask(tracking, 0, 3, torch.eye(16, dtype=torch.bool))
    return [digest(found.logits) for found in predictor.propagate(tracking, 0, FRAMES)]


def test_tracked_frames_go_through_the_compiler_and_nothing_of_the_answer_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = random_network(64, slim=True)
    plain = answers(network)
    compiler = Compiler()
    monkeypatch.setattr(torch, "compile", compiler)
    compile_networks(network)
    assert answers(network) == plain
    tracked = 3 * (FRAMES - 1)
    assert compiler.calls["MemoryAttention"] == tracked
    # Points and boxes do not go through it. A mask does: it has no points, and always one size.
    assert compiler.calls["MaskDecoder"] == tracked + 1
    assert compiler.calls["ImageEncoder"] >= FRAMES
    assert compiler.calls["MemoryEncoder"] == tracked + 3
    for options in compiler.options:  # or bits would follow from measurements
        assert options["options"] == {"deterministic": True}
        assert options["fullgraph"]
        assert "mode" not in options
    assert sum(options["dynamic"] for options in compiler.options) == 1


def test_without_a_gpu_it_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    own = Sam2Options(compile=True, seed="depth", checkpoint=str(tmp_path / "none.pt"))
    matting = MattingSettings(model="sam2", options=(own,))
    with pytest.raises(MachineError, match=r"sam2_compile: .* for a GPU only") as caught:
        load_model(matting, ProcessingSettings(), torch.device("cpu"))
    assert "\n" not in str(caught.value)


def test_a_machine_without_a_compiler_says_so_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(values: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("\nFailed to find C compiler.\nPlease specify via CC.")

    monkeypatch.setattr(torch, "compile", lambda function, **options: fails)
    monkeypatch.setattr(torch, "ones", lambda *shape, device: torch.zeros(*shape))
    with pytest.raises(MachineError, match=r"on this machine: Failed to find C compiler") as caught:
        require_compiler(torch.device("cuda"))
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    require_compiler(torch.device("cuda"))
