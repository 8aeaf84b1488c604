"""The job of a redo: the video as a run with the new settings would make it, but for what is kept.

Its work has a fingerprint of its own, of the settings, the finished files and the segments that
are kept. So the same command resumes it, and its segments meet no others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from orchestrator.fleet.jobs import Plan, VideoJob
from orchestrator.fleet.journal_entries import Redo, SegmentCommitted
from orchestrator.out.ledger import own_name_of
from orchestrator.out.output_names import OutputNames
from orchestrator.plan.discover import Source
from orchestrator.plan.per_file import PerFile
from orchestrator.redo.former import Former
from orchestrator.words import counted
from pipeline.contract import SegmentResult, VideoInfo, VideoSettings
from pipeline.errors import InputError, SettingsError
from pipeline.files.publish import file_digest
from pipeline.files.receipts import has_receipt
from pipeline.text import printable


@dataclass(frozen=True, slots=True)
class FormerNames(OutputNames):
    """The names that the outputs of one video have, whatever the settings say now."""

    outputs: tuple[str, ...] = ()

    def of(
        self, stem: str, video: VideoInfo, settings: VideoSettings, objects: Sequence[str] = ()
    ) -> list[str]:
        if len(self.outputs) != len(settings.deliverables):
            raise InputError(
                "the finished files are those of other formats or objects than would be made now",
                "make the video again: vrmatte run",
            )
        return list(self.outputs)  # absolute: below no other folder


def source_of(former: Former, path: Path) -> Source:
    return Source(path, PurePath(own_name_of(former.video)), path.parent.name)


def as_redo(per_file: PerFile, former: Former, numbers: range) -> PerFile:
    """The settings of the one source with what tells this work from others on the video."""
    said = [(o.path and Path(o.path).name, o.digest or o.size_bytes) for o in former.outputs]
    text = json.dumps([said, numbers.start, numbers.stop])
    name = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    wanted = {
        source: replace(
            each,
            settings=replace(each.settings, redo_of=name),
            candidates=tuple(replace(other, redo_of=name) for other in each.candidates),
        )
        for source, each in per_file.wanted.items()
    }
    return replace(per_file, wanted=wanted)


def redo_job(plan: Plan, former: Former, numbers: range) -> VideoJob:
    """The planned job, of which only these segments are made.

    Raises:
        InputError: the source, or what would be made of it, is another.
    """
    for aside in plan.set_aside:
        raise InputError(aside.error.message, aside.error.advice)
    (job,) = plan.jobs
    again = "make the video again: vrmatte run"
    if job.id != former.video["id"]:
        raise InputError(f"the source of {former.name} has changed since it was made", again)
    if list(job.segments) != former.segments:
        raise InputError(f"{former.name} would be cut into other segments now", again)
    formats = former.video.get("formats")
    if formats is not None and list(job.settings.deliverables) != list(formats):
        raise InputError(f"other files than there are would be made of {former.name} now", again)
    told = _told(former)
    kept = [
        (number, replace(told[number], files=(), digests=()))
        for number in range(len(job.segments))
        if number not in numbers
    ]
    return replace(job, former=former.outputs, kept=tuple(kept), replaceable=job.outputs)


def made_with(former: Former, job: VideoJob) -> str:
    """The fingerprint of the settings, as a run with them would have it."""
    return replace(job.settings, redo_of=None, deliverables=former.formats).fingerprint()


def require_something_to_do(former: Former, job: VideoJob, numbers: range) -> None:
    """Raises SettingsError: all of it was made with these settings already."""
    if all(former.makers()[number] == made_with(former, job) for number in numbers):
        raise SettingsError(
            f"nothing to redo: these segments of {former.name} were made with these settings",
            "name others: --model, or --set matting.choke=2",
        )


def require_former_files(job: VideoJob, *, partly: bool) -> None:
    """The finished files are as they were made, or this very redo has replaced them.

    Args:
        partly: a part of them is kept; otherwise they may be gone.

    Raises:
        InputError: they are not.
    """
    for name, output, former in zip(
        job.settings.deliverables, job.outputs, job.former, strict=True
    ):
        path = Path(output)
        if has_receipt(Path(job.work_dir), name, path) or not (partly or path.exists()):
            continue
        again = "make the video again: vrmatte run"
        try:
            same = path.stat().st_size == former.size_bytes
            if same and partly and former.digest:
                same = file_digest(path) == former.digest
        except OSError as error:
            shown = printable(str(path))
            raise InputError(f"{shown} cannot be read: {error.strerror}", again) from error
        if not same:
            raise InputError(f"{printable(str(path))} is not as it was made", again)


def redo_of(
    former: Former, job: VideoJob, numbers: range, differs: dict[str, str], command: str
) -> Redo:
    """What the journal is told."""
    return Redo(
        former=str(former.video["settings"]),
        made_with=made_with(former, job),
        first=numbers.start,
        stop=numbers.stop,
        segments=len(job.segments),
        begin_s=round(former.time_of(job.segments[numbers.start][0]), 3),
        end_s=round(former.time_of(job.segments[numbers.stop - 1][1]), 3),
        differs=differs,
        command=command,
    )


def segments_in_words(numbers: range, count: int) -> str:
    """``segments 3 and 4 of 10``, counted from 1."""
    first, last = numbers.start + 1, numbers.stop
    if len(numbers) == count:
        return f"all of its {counted(count, 'segment')}" if count > 1 else "its only segment"
    if first == last:
        return f"segment {first} of {count}"
    between = "and" if last == first + 1 else "to"
    return f"segments {first} {between} {last} of {count}"


def _told(former: Former) -> dict[int, SegmentResult]:
    """What the journal says of each segment; of one that is not known any more, its length."""
    segments = former.segments
    found = {
        number: SegmentResult((), stop - start) for number, (start, stop) in enumerate(segments)
    }
    key = (former.video["id"], former.video["settings"])
    for entry in former.entries:
        if (
            isinstance(entry, SegmentCommitted)
            and (entry.video, entry.settings) == key
            and entry.segment < len(segments)
            and (entry.start, entry.stop) == segments[entry.segment]
        ):
            found[entry.segment] = entry.result
    return found
