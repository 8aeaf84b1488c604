"""Makes single frames of a video as a run would, without encoders, for choosing settings."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pipeline.clip import ClipReader, prepared_data
from pipeline.contract import Finding, SegmentJob
from pipeline.judge.opinion import SecondOpinion
from pipeline.pixels.eyes import join_eyes
from pipeline.source.reader import Reader, open_reader
from pipeline.source.timing.frame_index import index_of
from pipeline.stages.chain import Chain, eyes_of


@dataclass(frozen=True, slots=True)
class Shown:
    """One frame; whole pictures, on the CPU.

    Attributes:
        number: of the output frame.
        source: uint8 ``[3, H, W]``.
        foreground: uint8 ``[3, H, W]``, the subject's own colours.
        alpha: uint8 ``[H, W]``.
        findings: what the stages found of this frame.
    """

    number: int
    source: Tensor
    foreground: Tensor
    alpha: Tensor
    findings: tuple[Finding, ...] = ()


def preview_frames(
    job: SegmentJob, frames: Sequence[int], device: torch.device, at_once: int = 1
) -> Iterator[Shown]:
    """Each of the frames, in order, after as many warm-up frames as begin a segment.

    Args:
        job: of the video, for its settings and places; which frames it has does not matter.
        at_once: how many of them are worked on, each by a thread of its own.

    Raises:
        VrmatteError: by its kind.
    """
    video, settings = job.video, job.settings
    index = index_of(video, Path(job.index_path))

    def set_threads() -> None:
        torch.set_num_threads(settings.processing.intra_op_threads)

    def reader() -> Reader:
        processing = settings.processing
        return open_reader(
            *(video, index, device), threads=processing.decode_threads, kernels=processing.kernels
        )

    set_threads()
    chain = Chain.of(settings, device)
    prepared = prepared_data(job, chain.stages, ClipReader(job, reader()))
    opinion = SecondOpinion.at_hand(settings, device)

    def shown(number: int) -> Shown:
        passing = chain.start(video.eye_shape, prepared)
        decoded = chain.decoded(reader(), video, number, number + 1, 1)
        [layers] = passing.layers(eyes_of(decoded, video), number, number + 1)

        def whole(eyes: Tensor) -> Tensor:
            return join_eyes(eyes, video.layout, video.right_first)[0]

        source = _bytes(whole(layers.rgb))
        subject = source if layers.foreground is None else _bytes(whole(layers.foreground))
        alpha = _bytes(whole(layers.matte.alpha))[0]
        findings = passing.findings(number, number + 1)
        if opinion is not None:
            findings = (*findings, opinion.of(layers))
        return Shown(number, source, subject, alpha, findings)

    with ThreadPoolExecutor(at_once, "preview", initializer=set_threads) as threads:
        coming: deque[Future[Shown]] = deque()
        for number in frames:
            coming.append(threads.submit(shown, number))
            if len(coming) > at_once:  # no more whole pictures wait than are worked on
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


def _bytes(values: Tensor) -> Tensor:
    if values.dtype == torch.uint8:
        return values.cpu()
    return values.float().mul(255).add_(0.5).clamp_(0, 255).to(torch.uint8).cpu()
