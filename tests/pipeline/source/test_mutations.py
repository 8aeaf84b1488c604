"""Hundreds of damaged and lying files: each ends as a video or as one clear line, none hangs.

All go through one `Prober`, as the files of a run do. A sample of what it takes goes through
decoder, model, encoder and joining, each file in a process of its own.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from pipeline.contract import FinishJob, SegmentJob, VideoInfo
from pipeline.errors import InputError, VrmatteError
from pipeline.source.probe import Prober
from tests.clips import SVT_AV1, VP9, X264, X265, ClipSpec
from tests.forked import CONTEXT
from tests.pipeline.mutations import mutants

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

GetClip = Callable[[ClipSpec], Path]

CLIPS = (
    ClipSpec("h264.mp4", X264, num_frames=12, audio=("aac",)),
    ClipSpec("h264.mkv", X264, num_frames=12, audio=("libopus",)),
    ClipSpec("h264.avi", X264, num_frames=12, audio=("pcm_s16le",)),
    ClipSpec("h264.ts", X264, num_frames=12, audio=("aac",)),
    ClipSpec("hevc.mov", X265, num_frames=12, audio=("aac",)),
    ClipSpec("av1.mp4", SVT_AV1, num_frames=12, audio=("aac",)),
    ClipSpec("av1.mkv", SVT_AV1, num_frames=12),
    ClipSpec("vp9.webm", VP9, num_frames=12, audio=("libopus",)),
)
ROUNDS = int(os.environ.get("VRMATTE_MUTATION_ROUNDS", "1"))
DEADLINE_S = 120  # ends a hang; on a busy machine the rest takes its time too
SAMPLE = int(os.environ.get("VRMATTE_MUTATION_SAMPLE", "12"))


@dataclass(frozen=True)
class Mutant:
    """One damaged file, and where what is found out of it goes."""

    path: Path

    @property
    def folder(self) -> Path:
        return self.path.with_name(f"{self.path.name}.work")

    @property
    def made(self) -> Path:
        """Where it is rendered."""
        return self.path.with_name(f"{self.path.name}.made")

    @property
    def index(self) -> Path:
        return self.folder / "index.json"


@pytest.fixture(scope="module")
def probed(
    clip: GetClip, tmp_path_factory: pytest.TempPathFactory
) -> list[tuple[Mutant, VideoInfo | str]]:
    """Every mutant with what the probe says of it."""
    folder = tmp_path_factory.mktemp("mutants")
    files: list[Mutant] = []
    for seed, spec in enumerate(CLIPS):
        for name, content in mutants(clip(spec).read_bytes(), seed, ROUNDS):
            path = folder / f"{Path(spec.name).stem}-{name}{Path(spec.name).suffix}"
            path.write_bytes(content)
            files.append(Mutant(path))
            files[-1].folder.mkdir()
    with Prober() as prober, ThreadPoolExecutor(2) as pool:
        return list(zip(files, pool.map(partial(_probe, prober), files), strict=True))


def _probe(prober: Prober, mutant: Mutant) -> VideoInfo | str:
    try:
        return prober(mutant.path, mutant.index, deadline_s=DEADLINE_S)
    except InputError as error:
        return str(error)


def _in_a_process(work: Callable[..., None], *arguments: object) -> int:
    """Its exit status; it must end by itself."""
    status = _status(work, *arguments)
    # 255 is the word of multiprocessing for a status that got lost between server and asker.
    return _status(work, *arguments) if status == 255 else status


def _status(work: Callable[..., None], *arguments: object) -> int:
    # To start Python and to import anew for each file would take minutes.
    process = CONTEXT.Process(target=work, args=arguments)
    process.start()
    process.join(DEADLINE_S)
    hangs = process.is_alive()
    process.kill()
    process.join()
    assert not hangs, f"{arguments[0]} hangs"
    assert process.exitcode is not None
    return process.exitcode


def test_each_of_hundreds_of_damaged_files_gets_its_answer(
    probed: list[tuple[Mutant, VideoInfo | str]],
) -> None:
    assert len(probed) >= 200 * ROUNDS
    taken = [answer for _, answer in probed if isinstance(answer, VideoInfo)]
    refused = [answer for _, answer in probed if isinstance(answer, str)]
    # The files are neither all too sound nor all too broken to tell anything.
    assert len(taken) > 40 * ROUNDS
    assert len(refused) > 40 * ROUNDS
    assert sum("crashed" in said for said in refused) <= 3  # a library's own fault
    for said in refused:
        assert said.isprintable()
        assert "Traceback" not in said
    for info in taken:
        assert 0 < info.num_frames <= 100 * info.source_frames
        assert 0 < max(info.width, info.height) <= 16384
    for mutant, answer in probed:
        left = {path.name for path in mutant.folder.iterdir()}
        assert left == ({"index.json"} if isinstance(answer, VideoInfo) else set())


def test_what_the_probe_takes_ends_with_all_its_frames_or_a_reason(
    probed: list[tuple[Mutant, VideoInfo | str]],
) -> None:
    taken = [(mutant, answer) for mutant, answer in probed if isinstance(answer, VideoInfo)]
    sample = taken[:: max(1, len(taken) // SAMPLE)]
    with ThreadPoolExecutor(2) as pool:
        ends = Counter(pool.map(_render, *zip(*sample, strict=True)))
    assert ends["done"] > len(sample) / 2
    # A library may crash on its own account: that costs a worker one life, and its parent nothing.
    assert set(ends) <= {"done", "input", "decode", "encode", "crash"}, ends
    assert ends["crash"] <= len(sample) / 20


def _render(mutant: Mutant, video: VideoInfo) -> str:
    status = _in_a_process(_render_here, mutant, video)
    if status < 0:
        return "crash"
    assert status == 0, f"{mutant.path} ended with status {status}"
    return (mutant.made / "end").read_text()


def _render_here(mutant: Mutant, video: VideoInfo) -> None:
    """As a worker does it; what nobody foresaw ends the process with status 1."""
    import torch

    from pipeline.finish import finish_video
    from pipeline.segment import run_segment
    from pipeline.stages.chain import Chain
    from tests.render import chroma_settings

    torch.set_num_threads(1)
    settings = chroma_settings(segment_frames=600)
    mutant.made.mkdir()
    folder, target = str(mutant.made), str(mutant.made / "out.webm")
    chain = Chain.of(settings, torch.device("cpu"))
    stop = min(600, video.num_frames)
    settings = chroma_settings(segment_frames=600, max_frames=stop)
    job = SegmentJob(video, settings, 0, 0, stop, str(mutant.index), folder)
    try:
        result = run_segment(job, chain, torch.device("cpu"))
        (made,) = finish_video(FinishJob(video, settings, (result,), (target,), folder))
        assert made.num_frames == stop
        end = "done"
    except VrmatteError as error:
        end = error.kind
    (mutant.made / "end").write_text(end)
