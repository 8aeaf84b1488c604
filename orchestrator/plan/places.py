"""Checks the places of a video's outputs: nothing of others is replaced, all lie in OUT.

A place that cannot be used is the trouble of one video.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from orchestrator.fleet.jobs import SetAside, VideoJob
from orchestrator.out.ownership import Made
from orchestrator.plan.discover import Source
from orchestrator.plan.kept_probes import kept_probe, read_info
from orchestrator.plan.part import part_in_words
from pipeline.errors import ErrorRecord, InputError
from pipeline.text import printable


@dataclass(frozen=True, slots=True)
class Places:
    """The output folder, as far as files of videos are made in it.

    Attributes:
        out: absolute path of the output folder.
        is_ours: whether an existing file with the name of an output may be replaced, because an
            earlier run made it or a person said so.
        finished: the output of a path that an earlier run finished, if it is still there. It is
            not replaced by one that lacks some of its frames, nor by another source's.
    """

    out: Path
    is_ours: Callable[[VideoJob, Path], bool] = lambda job, output: True
    finished: Callable[[Path], Made | None] = lambda output: None

    def replaceable(self, job: VideoJob, source: Source, *, is_done: bool) -> tuple[str, ...]:
        """Those outputs of a job that are there and may be replaced.

        Args:
            is_done: whether nothing of it is to be made.

        Raises:
            InputError: an output cannot be made where it belongs.
        """
        there = []
        for output in map(Path, job.outputs):
            self._check(output, source)
            if not os.path.lexists(output):
                continue
            if not self.is_ours(job, output):
                raise InputError(
                    f"{self._shown(output)} exists and was not made by vrmatte",
                    "move it away, or let it be replaced with --fresh",
                )
            there.append(str(output))
            if not is_done:
                self._require_no_loss(job, output)
        return tuple(there)

    def require_no_link(self, place: Path, source: Source) -> None:
        """Raises InputError: a folder of a video's work is one."""
        if place.is_symlink():
            raise InputError(
                f"the work folder of {source.name} is a link", f"remove {self._shown(place)}"
            )

    def _check(self, output: Path, source: Source) -> None:
        """Refuse an output that would lie outside of OUT, or in the place of something else.

        Raises:
            InputError: it would.
        """
        folder = output.parent
        if not Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(self.out)):
            raise InputError(
                f"the folder {self._shown(folder)} leads out of the output folder by a link",
                "remove the link, or choose another output folder",
            )
        while not os.path.lexists(folder):
            folder = folder.parent
        if not folder.is_dir():
            raise InputError(
                f"{self._shown(folder)} is in the way of a folder of that name", "move it away"
            )
        if folder.is_relative_to(self.out) and not os.access(folder, os.W_OK | os.X_OK):
            raise InputError(
                f"no file can be made in the folder {self._shown(folder)}",
                "let this user write there, or choose another output folder",
            )
        try:
            os.lstat(output)
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            raise InputError(
                f"{self._shown(output)} cannot be written: {error.strerror}",
                "choose another output folder, or rename the video",
            ) from error
        if output.exists() and output.samefile(source.path):
            raise InputError(f"the output of {source.name} would replace the source itself")
        if output.is_dir():
            raise InputError(
                f"{self._shown(output)} is a folder with the name of an output", "move it away"
            )

    def _require_no_loss(self, job: VideoJob, output: Path) -> None:
        """Refuse to replace a finished file by a shorter one: a try shall cost nobody a night.

        Raises:
            InputError: it would, or the file is another source's.
        """
        made = self.finished(output)
        if made is None or not self._is_same_source(made.video, job, output):
            return
        if made.output.num_frames <= job.num_frames and _covers(job, made.frames):
            return
        part = part_in_words(job.info, job.settings) or "the whole video"
        raise InputError(
            f"{self._shown(output)} is finished and has {made.output.num_frames} frames; it is not"
            f" replaced by {job.num_frames}: {part}",
            "choose another output folder, or let it be replaced with --fresh",
        )

    def _is_same_source(self, video_id: str, job: VideoJob, output: Path) -> bool:
        """Whether a finished file is of the source of a job; else that source is gone.

        Raises:
            InputError: it is of another one, which is.
        """
        known = read_info(kept_probe(self.out, video_id))
        if video_id == job.id or known is None:
            return True
        info = job.info
        if known.path != info.path and Path(known.path).exists():
            raise InputError(
                f"{self._shown(output)} is the finished file of {printable(known.path)}",
                "choose another output folder, or let it be replaced with --fresh",
            )
        return (known.size_bytes, known.fingerprint) == (info.size_bytes, info.fingerprint)

    def _shown(self, path: Path) -> str:
        return printable(str(path.relative_to(self.out)))


def _covers(job: VideoJob, frames: range | None) -> bool:
    """Whether a job shows the time of those frames of its whole video, all of it."""
    if not frames:
        return True
    begin, every = job.settings.start_frame, job.settings.every
    stop = begin + job.num_frames * every
    return begin <= frames.start and frames[-1] < stop


def told_apart(item: VideoJob | SetAside, taken: dict[str, str]) -> VideoJob | SetAside:
    """Set a video aside whose outputs have the names of an earlier one's, by a template.

    Args:
        taken: the videos by their outputs, which grow. Case-blind, because OUT may lie on a file
            system that is.
    """
    if isinstance(item, SetAside):
        return item
    for output in item.outputs:
        other = taken.get(output.casefold())
        if other is not None:
            reason = InputError(
                f"{Path(output).name} would be the name of an output of {other}, too",
                "choose another output.name (--name)",
            )
            return SetAside(item.name, item.info.path, ErrorRecord.of(reason))
    taken |= dict.fromkeys((output.casefold() for output in item.outputs), item.name)
    return item
