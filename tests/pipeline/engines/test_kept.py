"""Engines in files: trusted only after a comparison, refused aloud, and never half of a video."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.engines.by_torch import TorchEngine
from pipeline.engines.compiled_files import CompiledFiles
from pipeline.engines.engine import Runner
from pipeline.engines.kept import BuiltAtOnce, OpenedFile, built_and_compared
from pipeline.errors import MachineError
from tests.pipeline.engines.networks import (
    FAULTS,
    StandIn,
    a_key,
    answers,
    example,
    pictures,
    smoothing,
)
from tests.render import CPU

TORCH = TorchEngine(1, CPU)


def test_one_that_gives_what_torch_gives_is_kept_and_opened_by_its_digest(tmp_path: Path) -> None:
    network, files = smoothing(), CompiledFiles(tmp_path)
    builder = StandIn(network)
    kept = built_and_compared(network, example(), builder, files, a_key())
    assert kept.refused is None
    again = built_and_compared(network, example(), builder, files, a_key())
    assert (again.digest, builder.built) == (kept.digest, 1)
    engine = OpenedFile("tensorrt", builder, files, kept.digest, TORCH)
    found = answers(engine.load(network, example()), pictures())
    expected = answers(TORCH.load(network, example()), pictures())
    assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize("fault", FAULTS)
def test_one_that_gives_something_else_is_refused_with_its_reason_and_not_built_again(
    fault: str, tmp_path: Path
) -> None:
    network, files = smoothing(), CompiledFiles(tmp_path)
    spoil, why = FAULTS[fault]
    builder = StandIn(network, spoil)
    for _ in range(2):
        kept = built_and_compared(network, example(), builder, files, a_key())
        assert why in str(kept.refused)
    assert builder.built == 1


@pytest.mark.parametrize("fault", FAULTS)
def test_a_worker_refuses_it_too_and_gives_no_frame_of_another_engine(
    fault: str, tmp_path: Path
) -> None:
    """Torch within the same video would make its frames depend on when the engine failed."""
    network, files = smoothing(), CompiledFiles(tmp_path)
    digest = files.keep(a_key(), b"an engine")  # it was right when it was built
    spoil, why = FAULTS[fault]
    engine = OpenedFile("tensorrt", StandIn(network, spoil), files, digest, TORCH)
    with pytest.raises(MachineError, match="not to be trusted") as caught:
        engine.load(network, example())
    assert why in caught.value.message
    refused = files.read(a_key())
    assert refused is not None
    assert why in str(refused.refused)  # so that the next plan goes by torch


def test_what_cannot_be_built_or_opened_is_refused_with_what_the_library_says(
    tmp_path: Path,
) -> None:
    network = smoothing()
    files = CompiledFiles(tmp_path / "unbuildable")
    builder = StandIn(network, unbuildable="no kernel")
    for _ in range(2):  # memory may have been short: the next run tries again
        kept = built_and_compared(network, example(), builder, files, a_key())
        assert kept.refused == "it cannot be built: no kernel"
    assert (builder.built, files.all()) == (2, [])
    files = CompiledFiles(tmp_path / "unreadable")
    builder = StandIn(network, unreadable="no kernel")
    for _ in range(2):
        kept = built_and_compared(network, example(), builder, files, a_key())
        assert kept.refused == "no kernel"
    assert builder.built == 1
    files = CompiledFiles(tmp_path / "stale")
    files.keep(a_key(), b"of another version")
    kept = built_and_compared(network, example(), StandIn(network), files, a_key())
    assert kept.refused == "it is of another version"


def test_a_file_that_is_not_here_or_was_refused_is_no_engine(tmp_path: Path) -> None:
    files = CompiledFiles(tmp_path)
    digest = files.keep(a_key(), b"an engine")
    files.refuse(a_key(), "it is black")
    for name in (digest, "0" * 32):
        with pytest.raises(MachineError, match="is not here"):
            OpenedFile("tensorrt", StandIn(smoothing()), files, name, TORCH)


def test_what_it_was_not_built_for_is_made_by_torch(tmp_path: Path) -> None:
    network, files = smoothing(), CompiledFiles(tmp_path)
    digest = files.keep(a_key(), b"an engine")
    broken = StandIn(network, unreadable="it must not be asked")
    engine = OpenedFile("tensorrt", broken, files, digest, TORCH)
    engine.load(network, example(eyes=1))
    with pytest.raises(MachineError):
        engine.load(network, example())


def test_want_of_memory_is_no_fault_of_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: object, content: bytes, case: object) -> Runner:
        raise torch.OutOfMemoryError("CUDA out of memory")

    network, files = smoothing(), CompiledFiles(tmp_path)
    digest = files.keep(a_key(), b"an engine")
    monkeypatch.setattr(StandIn, "open", full)
    engine = OpenedFile("tensorrt", StandIn(network), files, digest, TORCH)
    with pytest.raises(torch.OutOfMemoryError):
        engine.load(network, example())
    with pytest.raises(torch.OutOfMemoryError):
        built_and_compared(network, example(), StandIn(network), files, a_key())
    [kept] = files.all()
    assert (kept.digest, kept.refused) == (digest, None)


def test_one_that_is_built_at_once_is_compared_as_well(tmp_path: Path) -> None:
    network, files = smoothing(), CompiledFiles(tmp_path)
    spoil, _ = FAULTS["black"]
    engine = BuiltAtOnce("It", StandIn(network, spoil), files, lambda part, case: a_key())
    with pytest.raises(MachineError, match=r"It is not to be trusted here: .* single colour"):
        engine.load(network, example())
    assert files.all() == []
    good = BuiltAtOnce("It", StandIn(network), files, lambda part, case: a_key())
    good.load(network, example())
    files.keep(a_key(), b"of another version")
    again = BuiltAtOnce("It", StandIn(network), files, lambda part, case: a_key())
    again.load(network, example())  # it is built anew
    [kept] = files.all()
    assert kept.content == b"an engine"
