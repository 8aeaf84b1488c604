"""``report.json`` after a redo: the report of the last run, with that video as it is now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from orchestrator.exit_status import ALL_DONE, FAILED
from orchestrator.out.folder import OutFolder
from orchestrator.report.rebuild import found_in, read_report
from orchestrator.report.report import Report, VideoReport, write_report
from pipeline.errors import MachineError, SettingsError


def amend_report(out: OutFolder, outputs: Sequence[str]) -> VideoReport | None:
    """Write the report anew; what it says of the video. None: what the run left is damaged.

    Args:
        outputs: paths of the files that were made again; no other entry of a report has them.

    Raises:
        DiskError: it cannot be written.
    """
    try:
        found = found_in(out, datetime.now().astimezone(), anew=True).state.report
    except (SettingsError, MachineError):
        return None
    video = _with_files(found, outputs)
    try:
        report = read_report(out.report)
    except ValueError:
        report = found
    if video is not None:
        then = _with_files(report, outputs) or _called(report, video.id)
        if then is None:
            report = replace(report, videos=(*report.videos, video))
        else:
            video = _as_now(then, video)
            videos = tuple(video if each is then else each for each in report.videos)
            report = replace(report, videos=videos)
    write_report(replace(report, exit_status=_exit_status(report)), out.report)
    return video


def _with_files(report: Report, outputs: Sequence[str]) -> VideoReport | None:
    videos = report.videos
    return next((v for v in videos if {f.path for f in v.outputs} == set(outputs)), None)


def _called(report: Report, key: str) -> VideoReport | None:
    """That of which the files were gone when the report was made."""
    return next((each for each in report.videos if each.id == key and not each.outputs), None)


def _as_now(then: VideoReport, now: VideoReport) -> VideoReport:
    """What is in the video's files, beside what the run says of its own work on it."""
    return replace(
        now,
        id=then.id,
        name=then.name,
        result=now.result if now.doubts or then.result == "doubtful" else then.result,
        frames_earlier=then.frames_earlier,
        seconds=then.seconds,
        frames_per_second=then.frames_per_second,
        retries=then.retries,
        started_s=then.started_s,
        ended_s=then.ended_s,
        losses=then.losses,
        of_this_run=then.of_this_run,
    )


def _exit_status(report: Report) -> int:
    """A video that was doubtful may be no longer, or the other way round."""
    if report.exit_status not in (ALL_DONE, FAILED):
        return report.exit_status
    own = [video for video in report.videos if video.of_this_run]
    wrong = any(video.error or video.doubts or video.left_out for video in own)
    return FAILED if wrong else ALL_DONE
