"""What each step calls right, failed and absent: by the card's table, and by doubles that fail."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.gpu_check import predicted
from orchestrator.gpu_check.clips import H264, LARGE, LONG
from orchestrator.gpu_check.results import Result
from orchestrator.gpu_check.site import Site
from orchestrator.gpu_check.steps import busy, ceiling, driver, nvdec, nvenc, segment, starved
from orchestrator.gpu_check.steps.tested import Seen
from pipeline.contract.nvenc_ways import WAYS
from pipeline.deliverables.webm import WebM
from pipeline.encode.nvenc_trial import Asked
from pipeline.errors import EncodeError, SessionRefused
from pipeline.pixels.batches import FrameBatch
from pipeline.source.decode import FrameReader
from tests.clips import X264, ClipSpec
from tests.nvenc import NO_NVENC, no_way, works
from tests.orchestrator.gpu_check.step_doubles import A100, ADA, HereSite, machine

CLIP = ClipSpec("h264.mp4", X264, num_frames=20)


class Site89(HereSite):
    """Its decoder is the CPU's, and counts for the GPU's."""

    @property
    def decoder(self) -> str:
        return "CPU"


@pytest.fixture
def ready(tmp_path: Path, clip: Callable[[ClipSpec], Path]) -> Path:
    """A folder of clips that somebody brought."""
    folder = tmp_path / "ready"
    folder.mkdir()
    for each in (H264, LONG, LARGE):
        shutil.copy2(clip(CLIP), folder / each.name)
    return folder


def told(step: Callable[..., None], site: Site) -> list[Result]:
    results: list[Result] = []
    step(site, results.append)
    return results


# The table.


@pytest.mark.parametrize(
    ("capability", "outcome"),
    [
        *(((8, 9), "FAILED"), ((7, 5), "FAILED"), ((8, 0), "absent"), ((9, 0), "absent")),
        *(((10, 0), "absent"), (None, "absent")),
    ],
)
def test_the_table_tells_whether_nvenc_failed_or_is_not_there(
    capability: tuple[int, int] | None,
    outcome: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nvenc, "try_way", lambda way, asked, env: no_way()(way, asked))
    monkeypatch.setattr(nvenc, "said_by", lambda *asked: "all that it said")
    found = told(nvenc.each_way, HereSite(machine("A card", capability), tmp_path))
    assert {result.outcome for result in found} == {outcome}
    assert [result.found for result in found[: len(WAYS)]] == [NO_NVENC] * len(WAYS)
    assert found[0].said == "all that it said"
    assert len(found) == len(WAYS) + (outcome == "FAILED")


def test_nvenc_where_the_table_says_none_is_right_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvenc, "try_way", lambda way, asked, env: works(way, asked))
    found = told(nvenc.each_way, HereSite(A100, tmp_path))
    assert {result.outcome for result in found} == {"ok"}
    assert "to be mended" in found[0].expected


def test_what_a_library_says_is_kept(tmp_path: Path) -> None:
    asked = Asked(("-c:v", "none_nvenc", "-pix_fmt", "yuv420p"), 64, 64)
    said = nvenc.said_by(HereSite(ADA, tmp_path), WAYS[2], asked)
    assert "none_nvenc" in said


@pytest.mark.parametrize(
    ("site_of", "codec", "outcome"),
    [
        *((ADA, "av1", "FAILED"), (A100, "av1", "absent"), (A100, "h264", "FAILED")),
        (machine("A100 MIG", (8, 0), parts=2), "h264", "absent"),
    ],
)
def test_the_table_tells_whether_nvdec_failed_or_is_not_there(
    site_of: Any, codec: str, outcome: str, ready: Path, tmp_path: Path
) -> None:
    site = HereSite(site_of, tmp_path, ready)
    found = nvdec.compared(site, "a clip", replace(H264, codec=codec), 0, False)
    assert (found.outcome, found.found) == (outcome, "CPU")


# Decoding.


def test_frames_that_are_the_cpus_are_right(ready: Path, tmp_path: Path) -> None:
    found = nvdec.compared(Site89(ADA, tmp_path, ready), "a clip", H264, 7, True)
    assert found.outcome == "ok"
    assert found.figures == {"frames": 13, "differing": 0}


def swapped(self: FrameReader, start: int, stop: int, size: int) -> Iterator[FrameBatch]:
    """`FrameReader.batches` of a decoder that gives a frame from the future."""
    for batch in real(self, start, stop, size):
        if self.decoder == "CPU" and batch.start <= 9 < batch.start + len(batch) and not self._fine:
            batch.rgb[9 - batch.start] = self.picture(12)
        yield batch


real = FrameReader.batches


def test_a_frame_from_the_future_fails(
    ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdict = nvdec.verdict("a clip", "works", "NVDEC", nvdec.Difference(20, 1, 0))
    assert verdict.outcome == "FAILED"
    assert nvdec.verdict("a clip", "works", "NVDEC", nvdec.Difference(20, 0, 2)).outcome == "FAILED"
    assert nvdec.verdict("a clip", "works", "NVDEC", nvdec.Difference(0, 0, 0)).outcome == "FAILED"
    site = Site(ADA, tmp_path, ready, rehearsal=True)
    assert {result.outcome for result in told(busy.behind_work, site)} == {"ok"}
    calls = []

    def by_turns(self: FrameReader, start: int, stop: int, size: int) -> Iterator[FrameBatch]:
        calls.append(size)
        return (
            real(self, start, stop, size) if len(calls) == 1 else swapped(self, start, stop, size)
        )

    monkeypatch.setattr(FrameReader, "batches", by_turns)
    outcomes = [result.outcome for result in told(busy.behind_work, site)]
    assert outcomes == ["ok", "FAILED", "FAILED"]


def test_want_of_memory_in_the_decoder_is_right_and_concealing_is_not(
    ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(ADA, tmp_path, ready, rehearsal=True)
    assert {result.outcome for result in told(starved.decoder, site)} == {"ok"}
    monkeypatch.setattr(starved, "_TEXT", "Invalid data: a damaged packet")
    concealed, error, where = told(starved.decoder, site)
    assert (where.outcome, error.outcome) == ("FAILED", "FAILED")

    def conceals(reader: FrameReader, stop: int) -> None:
        reader.concealed_frames.append(3)

    monkeypatch.setattr(starved, "_read", conceals)
    concealed, *_ = told(starved.decoder, site)
    assert (concealed.outcome, concealed.found) == ("FAILED", "2")


# Sessions.


class Open:
    def write(self, planes: object) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...


@pytest.mark.parametrize(
    ("name", "given", "error", "outcome"),
    [
        ("NVIDIA GeForce RTX 4090", 8, SessionRefused.of("out of memory (10)"), "ok"),
        ("NVIDIA GeForce RTX 4090", 5, SessionRefused.of("out of memory (10)"), "FAILED"),
        ("NVIDIA GeForce RTX 4090", 8, EncodeError("no idea"), "FAILED"),
        ("NVIDIA GeForce RTX 4090", 9, None, "ok"),
        ("NVIDIA L40S", 9, None, "ok"),
        ("NVIDIA L40S", 8, SessionRefused.of("out of memory (10)"), "FAILED"),
    ],
)
def test_sessions_are_what_the_plan_of_lanes_counts_on(
    name: str, given: int, error: Exception | None, outcome: str, tmp_path: Path
) -> None:
    def opened(number: int) -> Any:
        if number >= given and error is not None:
            raise error
        return Open()

    found = nvenc.sessions(HereSite(machine(name, (8, 9)), tmp_path), opened)
    assert (found.outcome, found.figures["sessions"]) == (outcome, given)


# The machine.


def test_every_generation_that_is_supported_has_code() -> None:
    code = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")
    runs = {(7, 5): "sm_75", (8, 9): "sm_86", (8, 0): "sm_80", (9, 0): "sm_90", (12, 0): "sm_120"}
    assert {capability: driver.covers(code, capability) for capability in runs} == runs
    assert driver.covers(code, (7, 0)) is None
    assert driver.covers(code, (13, 0)) is None
    assert driver.covers(("compute_90",), (12, 0)) == "compute_90"


def test_libraries_and_capabilities_of_a_container_without_video(tmp_path: Path) -> None:
    lacking = driver.libraries(HereSite(ADA, tmp_path), "\tlibcuda.so.1 (libc6) => /x\n")
    assert [result.outcome for result in lacking] == ["FAILED", "FAILED"]
    on_a100 = driver.libraries(HereSite(A100, tmp_path), "")
    assert [result.outcome for result in on_a100] == ["FAILED", "absent"]
    both = "\tlibnvcuvid.so.1 (libc6) => /x\n\tlibnvidia-encode.so.1 (libc6) => /y\n"
    there = driver.libraries(HereSite(ADA, tmp_path), both)
    assert [result.outcome for result in there] == ["ok", "ok"]
    less = HereSite(replace(ADA, capabilities="compute,utility"), tmp_path)
    assert driver.capabilities(less).outcome == "FAILED"
    assert "compute,utility,video" in driver.capabilities(less).found


# Lanes.


def test_gaps_between_pieces_of_work_that_overlap() -> None:
    found = ceiling.gaps([(0, 10), (5, 8), (20, 30), (30, 40)])
    assert (found.pieces, found.idle_share) == (4, 0.25)
    assert found.longest_s == pytest.approx(10e-6)
    assert ceiling.gaps([]).pieces == 0


def test_the_sink_stands_for_the_encoder_in_its_block_only(tmp_path: Path) -> None:
    before = WebM.open_segment, WebM.check_segment
    with ceiling.sink():
        encoder = WebM.open_segment(None, tmp_path / "x")  # type: ignore[arg-type]
        assert isinstance(encoder, ceiling.Sink)
    assert (WebM.open_segment, WebM.check_segment) == before


def test_a_lane_that_fails_fails_the_step(
    ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*asked: object, **more: object) -> None:
        raise MemoryError("none left")

    monkeypatch.setattr(ceiling, "run_segment", fails)
    site = Site(ADA, tmp_path, ready, rehearsal=True)
    job = segment.job_of(site, H264, "lanes")
    with pytest.raises(MemoryError, match="none left"):
        ceiling.rate_of(job, None, site.device, 2, 60.0)  # type: ignore[arg-type]


# Tests of a GPU.


def report(name: str, outcome: Any, longrepr: Any = None) -> pytest.TestReport:
    when: Any = "setup" if outcome == "skipped" else "call"
    return pytest.TestReport(name, ("", 0, ""), {}, outcome, longrepr, when)


def test_each_test_is_a_result_and_a_skip_is_a_failure_where_the_engine_should_be(
    tmp_path: Path,
) -> None:
    skip = ("x.py", 3, "Skipped: fewer than two ways")
    outcomes = {}
    for name, site in (("Ada", ADA), ("A100", A100)):
        results: list[Result] = []
        seen = Seen(HereSite(site, tmp_path), results.append)
        for each in (
            report("t.py::test_a", "passed"),
            report("t.py::test_b", "failed", "assert 1 == 2\nmore"),
            report("t.py::test_c", "skipped", skip),
            report("t.py::test_nvenc", "skipped", skip),
        ):
            seen.pytest_runtest_logreport(each)
        outcomes[name] = [(result.what, result.outcome) for result in results]
        assert results[1].found == "failed: assert 1 == 2"
    three = [("test_a", "ok"), ("test_b", "FAILED"), ("test_c", "FAILED")]
    assert outcomes == {
        "Ada": [*three, ("test_nvenc", "FAILED")],
        "A100": [*three, ("test_nvenc", "absent")],
    }


# Predictions.


def test_a_figure_stands_beside_its_prediction_where_there_is_one() -> None:
    key = "frames/s of 8K by PyTorch"
    assert predicted.beside(key, ADA.card, 16) == "16 frames/s, 0.50 of what was predicted"
    assert predicted.beside(key, "NVIDIA L4", 16) == "16 frames/s"
    assert predicted.expected(key, "NVIDIA L4") == "a figure (nothing was predicted)"
    for each in predicted.PREDICTED:
        assert each.value > 0
        assert each.source
