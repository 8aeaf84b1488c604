"""Plan the jobs: probe each source, settle its settings, cut it into segments, name its files.

A file that cannot be used is set aside with its reason; it never stops the others.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Protocol

from orchestrator.estimate.trial import IndexGoneError
from orchestrator.fleet.jobs import Plan, SetAside, VideoJob
from orchestrator.out.output_names import output_name
from orchestrator.out.room import scratch_bytes
from orchestrator.plan.discover import Source, output_stems
from orchestrator.plan.part import Times, frames_taken, with_frames
from orchestrator.plan.prompts_for import needs_index, on_frames_taken, prompts_for
from orchestrator.settings.settings import STATE_FOLDER
from pipeline.contract import (
    PIXEL_VERSION,
    Layout,
    ProjectionName,
    VideoInfo,
    VideoSettings,
    segment_frames,
)
from pipeline.deliverables.kept import losses, with_fields
from pipeline.errors import (
    DiskError,
    ErrorRecord,
    InputError,
    MachineError,
    OutputError,
    VrmatteError,
)
from pipeline.files.disk import write_file, writing
from pipeline.foreign.files import decoded, read_bytes
from pipeline.prompts.store import digest_of, keep_prompts, pack
from pipeline.source.probe import info_from_json, info_to_json, probe_video
from pipeline.source.timing.frame_index import FrameIndex
from pipeline.source.unchanged import regular_file, seen_now
from pipeline.stages.catalogue import output_video
from pipeline.text import printable

#: Probes read their files from end to end: many at once make one disk seek, few leave the cores
#: and a distant disk idle.
LEAST_AT_ONCE, MOST_AT_ONCE = 4, 16

_DIGEST_BYTES = 1 << 16
_LONGEST_INFO = 16 << 20


class Probe(Protocol):
    """`pipeline.source.probe.probe_video`, or a double of it."""

    def __call__(
        self,
        path: Path,
        index_path: Path,
        *,
        layout: Layout | None,
        projection: ProjectionName | None,
        deadline_s: float | None,
    ) -> VideoInfo: ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """How one source is to be processed.

    Attributes:
        layout, projection: override what the probe finds, if given.
        deadline_s: for its probe; by the file's size if None.
        differing: settings that its overrides change, by ``group.key``, as plain values.
        candidates: settings with each model of which the video's frames choose one, in order;
            none: there is no choice.
        times: the ends of the range that are given in times; the others are in `settings`.
    """

    settings: VideoSettings = field(default_factory=VideoSettings)
    layout: Layout | None = None
    projection: ProjectionName | None = None
    deadline_s: float | None = None
    differing: tuple[tuple[str, object], ...] = ()
    candidates: tuple[VideoSettings, ...] = ()
    times: Times = field(default_factory=Times)


#: Settings of a video with each model that it may get, in order.
Candidates = tuple[VideoSettings, ...]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The settings with the model that suits a video, and why it does."""

    settings: VideoSettings
    why: str = ""


@dataclass(frozen=True, slots=True)
class Planner:
    """Turns sources into jobs.

    Attributes:
        out: absolute path of the output folder.
        wanted: how each source is to be processed.
        choose: chooses among the candidates, where there are some, given the path of the video's
            frame index; InputError where none suits.
        settle: decides the settings that depend on the video (`orchestrator.plan.settle`), given
            those wanted and the path of its frame index.
        is_done: whether a job is done already; then the probe of an earlier run is enough, even
            where its frame index is gone.
        is_ours: whether an existing file with the name of an output may be replaced, because an
            earlier run made it or a person said so.
        end_probes: ends what `probe` and `choose` do in other threads, so that they need not be
            waited for; it is called until they have ended.
        at_once: files that are probed at the same time; the plan does not depend on it.
        on_probed: called with the name of each source that was read, from several threads.
    """

    out: Path
    wanted: Callable[[Source], Wanted] = lambda source: Wanted()
    choose: Callable[[VideoInfo, Candidates, Path], Chosen] = lambda i, found, path: Chosen(
        found[0]
    )
    settle: Callable[[VideoInfo, VideoSettings, Path], VideoSettings] = lambda info, s, index: s
    probe: Probe = probe_video
    is_done: Callable[[VideoJob], bool] = lambda job: False
    is_ours: Callable[[VideoJob, Path], bool] = lambda job, output: True
    end_probes: Callable[[], None] = lambda: None
    at_once: int = LEAST_AT_ONCE
    on_probed: Callable[[str], None] = lambda name: None

    def plan(self, sources: Sequence[Source]) -> Plan:
        """Probe all sources, a few at a time, and plan those that can be processed.

        Raises:
            DiskError: the results of the probes cannot be kept.
        """
        planned = list(self.each(sources))
        return Plan(
            jobs=tuple(item for item in planned if isinstance(item, VideoJob)),
            set_aside=tuple(item for item in planned if isinstance(item, SetAside)),
        )

    def each(self, sources: Sequence[Source]) -> Generator[VideoJob | SetAside]:
        """What becomes of each source, in their order, as soon as it is known.

        Raises:
            DiskError: the results of the probes cannot be kept.
        """
        with ThreadPoolExecutor(self.at_once, "probe") as pool:
            try:
                stems = output_stems(sources)
                futures = deque(
                    pool.submit(self._plan_one, *pair) for pair in zip(sources, stems, strict=True)
                )
                while futures:
                    item = futures[0].result()
                    futures.popleft()
                    yield item
            except BaseException:  # Ctrl-C: neither begin the rest, nor wait for running probes
                pool.shutdown(wait=False, cancel_futures=True)
                while running := [future for future in futures if not future.done()]:
                    self.end_probes()
                    wait(running, timeout=0.1)
                raise

    def _plan_one(self, source: Source, stem: PurePath) -> VideoJob | SetAside:
        try:
            return self._job(source, stem)
        except OutputError as error:  # of files of this video alone
            return SetAside(source.name, str(source.path), ErrorRecord.of(error))
        except (DiskError, MachineError):  # not the file's fault: the next one would fail too
            raise
        except VrmatteError as error:
            return SetAside(source.name, str(source.path), ErrorRecord.of(error))
        except OSError as error:
            reason = InputError(f"cannot read {source.name}: {error.strerror or error}")
            return SetAside(source.name, str(source.path), ErrorRecord.of(reason))
        finally:
            self.on_probed(source.name)

    def _job(self, source: Source, stem: PurePath) -> VideoJob:
        wanted = self.wanted(source)
        regular_file(source.path)
        seen = seen_now(source.path)  # before all else that is read of it
        video_id = source_id(source.path, wanted.layout, wanted.projection)
        kept = self.out / STATE_FOLDER / "probed" / f"{video_id}-v{PIXEL_VERSION}.json"
        folder = self.out / STATE_FOLDER / "work" / video_id
        self._require_no_link(folder, source)
        known = read_info(kept)
        if known is not None and _is_of(known, source.path):
            known = replace(known, seen=seen)
            if known.path != str(source.path):  # a link, in this OUT or the one it came from
                with writing(folder):
                    folder.mkdir(parents=True, exist_ok=True)
                known = replace(known, path=str(_readable_path(source, folder)))
            sound = _is_sound(folder / "index.json", known)
            if sound or not needs_index(wanted.settings.matting, known):
                with suppress(IndexGoneError):
                    job = self._make_job(source, wanted, stem, video_id, folder, known)
                    if sound or self.is_done(job):
                        return job
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            path = _readable_path(source, folder)
            index = folder / "index.json"
            info = self.probe(
                path,
                index,
                layout=wanted.layout,
                projection=wanted.projection,
                deadline_s=wanted.deadline_s,
            )
        except InputError:
            with suppress(OSError):  # it is not empty
                folder.rmdir()
            raise
        write_info(kept, info)
        return self._make_job(source, wanted, stem, video_id, folder, replace(info, seen=seen))

    def _make_job(
        self,
        source: Source,
        wanted: Wanted,
        stem: PurePath,
        video_id: str,
        folder: Path,
        whole: VideoInfo,
    ) -> VideoJob:
        index_path = folder / "index.json"
        settings, *others = [
            with_frames(asked, wanted.times, whole, source.name)
            for asked in wanted.candidates or (wanted.settings,)
        ]
        info = with_fields(whole.every_nth(settings.every, settings.phase), settings)
        chosen = self.choose(info, (settings, *others), index_path) if others else Chosen(settings)
        settings = self.settle(info, chosen.settings, index_path)
        prompts = prompts_for(settings.matting, source.path, whole, index_path)
        packed = None if prompts is None else pack(on_frames_taken(prompts, info))
        if prompts is not None:
            info = replace(info, notes=(*info.notes, *prompts.notes))
        if packed is not None:
            settings = replace(settings, prompts_sha256=digest_of(packed))
        work_dir = folder / settings.fingerprint()
        self._require_no_link(work_dir, source)
        start, stop = frames_taken(info, settings)
        shown = output_video(info, settings)
        info = replace(info, notes=(*info.notes, *losses(shown, settings)))
        outputs = [
            self.out / stem.parent / output_name(stem.name, name, shown)
            for name in settings.deliverables
        ]
        job = VideoJob(
            id=video_id,
            name=source.name,
            info=info,
            settings=settings,
            outputs=tuple(str(output) for output in outputs),
            segments=segment_grid(start, stop, segment_frames(info, settings.streaming)),
            index_path=str(index_path),
            work_dir=str(work_dir),
            scratch_bytes=scratch_bytes(
                shown, stop - start, settings.deliverables, settings.encoding
            ),
            differing=wanted.differing,
            model_why=chosen.why,
        )
        replaceable = []
        for output in outputs:
            self._check_place(output, source)
            if not os.path.lexists(output):
                continue
            if not self.is_ours(job, output):
                raise InputError(
                    f"{self._shown(output)} exists and was not made by vrmatte",
                    "move it away, or let it be replaced with --fresh",
                )
            replaceable.append(str(output))
        job = replace(job, replaceable=tuple(replaceable))
        if packed is not None and not self.is_done(job):
            keep_prompts(work_dir, packed)
        return job

    def _require_no_link(self, place: Path, source: Source) -> None:
        if place.is_symlink():
            raise InputError(
                f"the work folder of {source.name} is a link", f"remove {self._shown(place)}"
            )

    def _check_place(self, output: Path, source: Source) -> None:
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

    def _shown(self, path: Path) -> str:
        return printable(str(path.relative_to(self.out)))


def _is_sound(index_path: Path, info: VideoInfo) -> bool:
    try:
        return FrameIndex.load(index_path).belongs_to(info)
    except (OSError, ValueError):
        return False


def replaced_videos(out: Path, jobs: Sequence[VideoJob]) -> Iterator[str]:
    """Ids of earlier videos whose files were replaced by other files: their work is useless."""
    now = {job.info.path: (job.info.size_bytes, job.info.mtime_ns) for job in jobs}
    for path in sorted((out / STATE_FOLDER / "probed").glob(f"*-v{PIXEL_VERSION}.json")):
        known = read_info(path)
        if known is None or known.path not in now:
            continue
        if (known.size_bytes, known.mtime_ns) != now[known.path]:
            yield path.name.partition("-")[0]


def read_info(path: Path) -> VideoInfo | None:
    """The result of an earlier probe of the very same file, if it can be read."""
    try:
        text, _, checksum = read_bytes(path, _LONGEST_INFO).rstrip(b"\n").rpartition(b"\n")
        if checksum != _checksum(text):  # one wrong digit would describe another video
            return None
        return info_from_json(decoded(text))
    except ValueError:  # not there, or damaged: probe again
        return None


def _is_of(info: VideoInfo, path: Path) -> bool:
    status = path.stat()
    return (info.size_bytes, info.mtime_ns) == (status.st_size, status.st_mtime_ns)


def write_info(path: Path, info: VideoInfo) -> None:
    """Keep the result of a probe. Raises DiskError."""
    text = info_to_json(info).encode()
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, text + b"\n" + _checksum(text) + b"\n")


def _checksum(text: bytes) -> bytes:
    return f"{zlib.crc32(text):08x}".encode()


def source_id(
    path: Path, layout: Layout | None = None, projection: ProjectionName | None = None
) -> str:
    """16 hexadecimal digits: path, size, time of change, and a digest of head and tail.

    A layout or a projection that is given goes into it: the same file is then another video.

    Raises:
        InputError: it is not a file any more.
        OSError: it cannot be read.
    """
    regular_file(path)
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        digest = hashlib.sha256(os.fsencode(path))
        digest.update(f"\0{status.st_size}\0{status.st_mtime_ns}\0{layout}\0{projection}".encode())
        digest.update(file.read(_DIGEST_BYTES))
        file.seek(max(0, status.st_size - _DIGEST_BYTES))
        digest.update(file.read(_DIGEST_BYTES))
    return digest.hexdigest()[:16]


def segment_grid(start: int, stop: int, longest: int) -> tuple[tuple[int, int], ...]:
    """Cut ``start..stop`` at the multiples of `longest`, counted from the video's frame 0.

    The grid does not move with the range, so that overlapping ranges share their seams.
    """
    cuts = range((start // longest + 1) * longest, stop, longest)
    edges = [start, *cuts, stop]
    return tuple(itertools.pairwise(edges))


def _readable_path(source: Source, folder: Path) -> Path:
    """The source's path, or a link to it where its bytes are not UTF-8.

    Decoders take paths as UTF-8 text. The link keeps what is readable of the name, for its tags.

    Raises:
        InputError: this file system has no links.
    """
    try:
        str(source.path).encode()
    except UnicodeEncodeError:
        link = folder / printable(source.path.name)
        try:
            link.unlink(missing_ok=True)
            link.symlink_to(source.path)
        except OSError as error:
            raise InputError(
                f"the path of {source.name} is not valid UTF-8", "rename it"
            ) from error
        return link
    return source.path
