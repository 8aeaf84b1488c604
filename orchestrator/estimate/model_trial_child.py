"""The process that tries models on a few frames; see `orchestrator/estimate/model_trial.py`.

Each frame goes through the whole chain as a segment of its own, so that the judge says of it what
it would say in a run; a model with a memory begins with each frame anew.
Run as ``python -m orchestrator.estimate.model_trial_child REQUEST RESULT DEVICE``.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.estimate.model_trial import SAMPLES, ModelTrial, Tried
from pipeline.errors import InputError, MachineError, SettingsError, VrmatteError
from pipeline.judge.doubt import doubts_of
from pipeline.stages.matting.catalogue import JSON_CONTEXT, facts_of, function_of

if TYPE_CHECKING:
    import torch

    from pipeline.clip import ClipReader
    from pipeline.contract import Finding, SegmentJob, VideoSettings
    from pipeline.source.reader import Reader


def samples(start: int, stop: int, keyframes: list[int]) -> list[int]:
    """Frames from all over the range; keyframes where some are near, which decode at once."""
    count = min(SAMPLES, stop - start)
    even = [start + (2 * n + 1) * (stop - start) // (2 * count) for n in range(count)]
    reach = (stop - start) / (2 * count)
    found = []
    for number in even:
        near = [key for key in keyframes if start <= key < stop and abs(key - number) <= reach]
        found.append(min(near, key=lambda key: abs(key - number), default=number))
    return sorted(set(found))


def try_each(trial: ModelTrial, device: torch.device, folder: Path) -> list[Tried]:
    """One for each candidate up to the first that suits."""
    import torch

    from pipeline.clip import ClipReader
    from pipeline.contract import SegmentJob
    from pipeline.source.reader import open_reader
    from pipeline.source.timing.frame_index import index_of

    video, first = trial.info, trial.candidates[0]
    torch.set_num_threads(first.processing.intra_op_threads)
    index = index_of(video, Path(trial.index_path))
    start = first.start_frame
    stop = min(video.num_frames, start + (first.max_frames or video.num_frames))
    frames = samples(start, max(stop, start + 1), [int(key) for key in index.keyframes])
    processing = first.processing
    reader = open_reader(
        *(video, index, device), threads=processing.decode_threads, kernels=processing.kernels
    )
    tried: list[Tried] = []
    for settings in trial.candidates:
        settings = replace(settings, prompts_sha256=None)
        job = SegmentJob(video, settings, 0, start, stop, trial.index_path, str(folder))
        tried.append(_try(job, settings, ClipReader(job, reader), reader, frames, device))
        if tried[-1].suits:
            break
    return tried


def _try(
    job: SegmentJob,
    settings: VideoSettings,
    clip: ClipReader,
    reader: Reader,
    frames: list[int],
    device: torch.device,
) -> Tried:
    from pipeline.stages.chain import Chain, eyes_of

    row, video = facts_of(settings.matting), job.video
    try:
        fits = None
        if row.suits is not None:
            fits = function_of(row, row.suits)(settings.matting, clip)
            if not fits.suits:
                return Tried(False, fits.why)
        chain = Chain.of(settings, device)
        prepared = chain.prepare(clip)
        findings: list[Finding] = []
        for number in frames:
            run = chain.start(video.eye_shape, prepared)
            pictures = eyes_of(reader.batches(number, number + 1, 1), video)
            for _ in run.layers(pictures, number, number + 1):
                pass
            findings += run.findings(number, number + 1)
    except (InputError, MachineError, SettingsError) as error:
        return Tried(False, error.message)
    if doubts := doubts_of(findings, row.name):
        return Tried(False, "; ".join(doubt.seen for doubt in doubts))
    whole = f"its mattes of {len(frames)} frames show no fault"
    return Tried(True, whole if fits is None else fits.why)


def main(request: str, result: str, device: str) -> None:
    import torch
    from pydantic import TypeAdapter

    text = Path(request).read_bytes()
    trial = TypeAdapter(ModelTrial).validate_json(text, context=JSON_CONTEXT)
    tried = try_each(trial, torch.device(device), Path(result).parent)
    Path(result).write_bytes(TypeAdapter(list[Tried]).dump_json(tried))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except VrmatteError as error:
        sys.exit(f"error: {error}")
