"""Join the segments of a video, add sound and metadata, verify, publish."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.spec import FinishJob, OutputFile


def finish_video(
    job: FinishJob, *, should_stop: Callable[[], bool] = lambda: False
) -> tuple[OutputFile, ...]:
    raise NotImplementedError
