"""Join the segments of a video, add sound and metadata, verify, publish."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pipeline.deliverables.base import make_deliverable
from pipeline.errors import Stopped
from pipeline.publish import publish
from pipeline.spec import FinishJob, OutputFile


def finish_video(
    job: FinishJob, *, should_stop: Callable[[], bool] = lambda: False
) -> tuple[OutputFile, ...]:
    """Make the final file of every deliverable; the segments stay where they are.

    Nothing bears its final name before it is joined, read back and found right.

    Args:
        should_stop: asked between deliverables.

    Raises:
        Stopped: `should_stop` said yes.
        EncodeError: a joined file is not what it should be.
        ResourceError: it cannot be written.
    """
    frames = [segment.num_frames for segment in job.segments]
    outputs = []
    for position, name in enumerate(job.settings.deliverables):
        if should_stop():
            raise Stopped("stopped on demand")
        deliverable = make_deliverable(name, job.video, job.settings)
        target = Path(job.outputs[position])
        draft = Path(job.work_dir) / f".joined-{name}{deliverable.suffix}.part"
        parts = [Path(segment.files[position]) for segment in job.segments]
        deliverable.join(parts, frames, draft)
        deliverable.verify(draft, sum(frames))
        size = draft.stat().st_size
        publish(draft, target)
        outputs.append(OutputFile(name, str(target), size, sum(frames)))
    return tuple(outputs)
