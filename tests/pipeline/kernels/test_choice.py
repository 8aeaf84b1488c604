"""Which way is chosen, and what is told where it is PyTorch's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from structlog.testing import capture_logs
from torch import Tensor

from pipeline.contract import SegmentJob
from pipeline.kernels import by_triton, choice, colour_in, draw, planes_out, shrink, trials
from pipeline.kernels.by_triton import KernelWay
from pipeline.kernels.choice import keep, tried_way, way_on
from pipeline.kernels.draw import CONTRACTIONS
from pipeline.kernels.trials import Noise, Trial
from pipeline.kernels.way import TORCH, Way
from pipeline.pixels.color import YuvFormat
from pipeline.segment import run_segment
from pipeline.source.video_info import read_video
from pipeline.stages.chain import Chain
from tests.clips import X264, ClipSpec
from tests.render import chroma_settings
from tests.shared_runs import GetClip

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_kept", {})


def trial(name: str, differs: object = ()) -> Trial:
    """One in which a way of kernels differs if its contraction is none of those that fit."""

    def made(way: Way) -> tuple[Tensor, ...]:
        if isinstance(way, KernelWay) and isinstance(differs, Exception):
            raise differs
        other = isinstance(way, KernelWay) and differs != "never" and way.contraction != differs
        return (torch.tensor([float(other)]),)

    return Trial(name, name, made)


def test_a_cpu_has_pytorchs_way_and_no_triton_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "tried_way", lambda asked: pytest.fail("tried"))
    assert way_on(CPU) is TORCH
    assert way_on(CUDA, "torch") is TORCH


def test_what_differs_is_left_to_pytorch_aloud(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [trial("draw", "never"), trial("rgba_planes", None), trial("yuv_to_rgb", "never")]
    monkeypatch.setattr(choice, "trials", lambda device: asked)
    with capture_logs() as logs:
        way = way_on(CUDA)
    assert way.notes == {"rgba_planes": "rgba_planes: 1 of 1 values differ, by 1 at most"}
    assert [(log["event"], log["kernel"]) for log in logs] == [("kernel_by_torch", "rgba_planes")]
    assert way_on(CUDA) is way


@pytest.mark.parametrize("fits", CONTRACTIONS)
def test_a_draw_is_contracted_as_pytorchs(fits: draw.Contraction) -> None:
    way = tried_way([trial("draw", fits)])
    assert isinstance(way, KernelWay)
    assert (way.contraction, way.notes) == (fits, {})


def test_a_compiler_that_fails_is_told_in_one_line() -> None:
    error = RuntimeError("at 2:7:\n\nFailed to find C compiler.\n")
    way = tried_way([trial("draw", "never"), trial("screen_planes", error)])
    assert way.notes == {"screen_planes": "RuntimeError: Failed to find C compiler."}


def test_a_device_that_fails_is_no_fault_of_a_kernel() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        tried_way([trial("draw", torch.OutOfMemoryError("full"))])


def test_without_triton_all_is_done_by_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(asked: object) -> Way:
        raise ModuleNotFoundError("No module named 'triton'")

    monkeypatch.setattr(choice, "tried_way", missing)
    with capture_logs() as logs:
        notes = way_on(CUDA).notes
    assert notes == {"all": "Triton does not load: ModuleNotFoundError: No module named 'triton'"}
    assert [log["kernel"] for log in logs] == ["all"]


def test_a_kernel_that_fails_later_is_used_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def fails(*given: object) -> Tensor:
        calls.append(given)
        raise RuntimeError("out of registers")

    monkeypatch.setattr(planes_out, "rgba_planes", fails)
    way = KernelWay()
    one = trials.rgba(Noise(CPU), YuvFormat("bt709", False), torch.float16, size=(2, 4))
    with capture_logs() as logs:
        assert one.difference(way) is None
        assert one.difference(way) is None
    assert len(calls) == len(logs) == 1
    assert way.notes == {"rgba_planes": "RuntimeError: out of registers"}


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Kernels are compiled for an A100 in place of being launched; the assembly of each."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    kinds = {torch.uint8: "*u8", torch.float16: "*fp16", torch.float32: "*fp32"}
    kinds |= {torch.int8: "*i8"}
    made: list[str] = []

    def kind(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(kind, value))
        return "fp32" if isinstance(value, float) else "i32"

    def launch(
        kernel: Any, grid: Any, reads: Any, writes: Any, scalars: Any, switches: dict[str, int]
    ) -> None:
        given = [*reads, *writes]
        some = next(each for each in given if each is not None)
        types = [kinds[(some if each is None else each).dtype] for each in given]
        names = kernel.arg_names
        types += [kind(each) for each in scalars] + ["constexpr"] * len(switches)
        constants = {(names.index(name),): value for name, value in switches.items()}
        source = ASTSource(kernel, dict(zip(names, types, strict=True)), constants)
        options = {"enable_fp_fusion": False}
        found = compile(source, target=GPUTarget("cuda", 80, 32), options=options)
        made.append(found.asm["ptx"])

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    for module in (colour_in, draw, planes_out, shrink):
        monkeypatch.setattr(module, "launch", launch)
    return made


def test_every_kernel_compiles_for_a_gpu_and_contracts_only_what_it_says(
    compiled: list[str],
) -> None:
    noise, form, way = Noise(CPU), YuvFormat("bt709", False), by_triton.KernelWay(strict=True)
    asked = [
        (trials.colour_in(noise, form, (4, 6), (2, 2)), 1),  # green
        (trials.drawn(noise, torch.float16, (5, 6)), 2 + 8 * 3),  # places, means of 8 planes
        *(
            (trials.shrunk(noise, each, (5, 7), (2, 3)), 0)
            for each in (torch.uint8, torch.float16, torch.float32)
        ),
        (trials.rgba(noise, form, torch.float16, size=(2, 4)), 5 * 2),  # luma of 4 and a mean
        (trials.over_screen(noise, form, torch.float16, size=(2, 4)), 4 * 3 + 5 * 2),
        (trials.packed(noise, form, torch.uint8, 20), 5 * 2),
    ]
    for each, _ in asked:
        each.made(way)
    for assembly, (each, least) in zip(compiled, asked, strict=True):
        # A thread has one or several pixels.
        found = assembly.count("fma.rn.f32")
        assert found >= least, each.name
        assert found == 0 if least == 0 else found % least == 0 or each.name == "draw", each.name
        assert "div.full" not in assembly


def test_a_segment_tells_what_was_left_to_pytorch(clip: GetClip, tmp_path: Path) -> None:
    """As a finding of a source that the report does not know, which becomes a note."""
    keep(CPU, KernelWay(dict.fromkeys(("yuv_to_rgb", "rgba_planes"), "no C compiler")))
    index_path = tmp_path / "index.json"
    video = read_video(clip(ClipSpec("h264.mp4", X264)), index_path, "sbs")
    settings = chroma_settings()
    job = SegmentJob(video, settings, 0, 0, 3, str(index_path), str(tmp_path))
    found = run_segment(job, Chain.of(settings, CPU), CPU).findings
    told = [(each.kind, each.detail) for each in found if each.source == "kernels"]
    assert told == [
        ("yuv_to_rgb by PyTorch", "no C compiler"),
        ("rgba_planes by PyTorch", "no C compiler"),
    ]


def test_launches_are_counted_and_tensors_without_memory_launch_nothing() -> None:
    from pipeline.kernels.launch import watched

    meta = torch.device("meta")
    keep(meta, KernelWay(strict=True))
    counted: list[tuple[str, int, int]] = []
    rgb = torch.empty(1, 3, 4, 6, dtype=torch.uint8, device=meta)
    alpha = torch.empty(1, 1, 4, 6, dtype=torch.float16, device=meta)
    with watched(lambda *told: counted.append(told)):
        planes = way_on(meta).rgba_planes(rgb, alpha, YuvFormat("bt709", False))
    assert counted == [("_transparent", 24 * 3 + 24 * 2, planes.numel())]
