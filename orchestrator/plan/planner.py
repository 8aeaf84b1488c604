"""Plan the jobs: probe each source, settle its settings, cut it into segments, name its files.

A file that cannot be used is set aside with its reason; it never stops the others.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Protocol

from orchestrator.estimate.trial import IndexGoneError
from orchestrator.fleet.jobs import Plan, SetAside, VideoJob
from orchestrator.out.journal import Past
from orchestrator.out.output_names import OutputNames
from orchestrator.out.room import scratch_bytes
from orchestrator.plan.discover import Source, output_stems
from orchestrator.plan.keep_out_for import with_keep_out
from orchestrator.plan.kept_probes import kept_probe, read_info, write_info
from orchestrator.plan.part import Times, frames_taken, with_frames
from orchestrator.plan.per_object import names_in_files, with_objects
from orchestrator.plan.places import Places, told_apart
from orchestrator.plan.prompts_for import needs_index, on_frames_taken, prompts_for
from orchestrator.settings.settings import STATE_FOLDER
from pipeline.contract import (
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
from pipeline.files.disk import writing
from pipeline.prompts.store import digest_of, keep_prompts, pack
from pipeline.source.probe import probe_video
from pipeline.source.timing.frame_index import FrameIndex
from pipeline.source.unchanged import regular_file, seen_now
from pipeline.stages.catalogue import output_video
from pipeline.stages.enhance.choice import enhanced_in_words
from pipeline.stages.matting.catalogue import require_fit
from pipeline.text import printable

#: Probes read their files from end to end: many at once make one disk seek, few leave the cores
#: and a distant disk idle.
LEAST_AT_ONCE, MOST_AT_ONCE = 4, 16

_DIGEST_BYTES = 1 << 16


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
        places: those of outputs, in the output folder.
        wanted: how each source is to be processed.
        choose: chooses among the candidates, where there are some, given the path of the video's
            frame index; InputError where none suits.
        fit: leaves out formats that cannot be made of a video, and says why; InputError where none
            can.
        settle: decides the settings that depend on the video (`orchestrator.plan.settle`), given
            those wanted and the path of its frame index.
        engine: decides by which built engine the video is made, last of all, given what was done
            of it under other settings; and notes on that.
        past: what was done of a video, by its id, under the settings with a fingerprint.
        is_done: whether a job is done already; then the probe of an earlier run is enough, even
            where its frame index is gone.
        end_probes: ends what `probe` and `choose` do in other threads, so that they need not be
            waited for; it is called until they have ended.
        begin_anew: given the id of a video and the fingerprint of its content, if it is known,
            drops what earlier runs left of its work; None: that is used.
        names: those of outputs.
        at_once: files that are probed at the same time; the plan does not depend on it.
        on_probed: called with the name of each source that was read, from several threads.
    """

    places: Places
    wanted: Callable[[Source], Wanted] = lambda source: Wanted()
    choose: Callable[[VideoInfo, Candidates, Path], Chosen] = lambda i, found, path: Chosen(
        found[0]
    )
    fit: Callable[[VideoInfo, VideoSettings], tuple[VideoSettings, Mapping[str, InputError]]] = (
        lambda info, settings: (settings, {})
    )
    settle: Callable[[VideoInfo, VideoSettings, Path], VideoSettings] = lambda info, s, index: s
    engine: Callable[
        [VideoInfo, VideoSettings, Callable[[VideoSettings], Past]],
        tuple[VideoSettings, tuple[str, ...]],
    ] = lambda info, settings, past: (settings, ())
    past: Callable[[str, str], Past] = lambda video, settings: "nothing"
    probe: Probe = probe_video
    is_done: Callable[[VideoJob], bool] = lambda job: False
    end_probes: Callable[[], None] = lambda: None
    begin_anew: Callable[[str, str | None], None] | None = None
    names: OutputNames = field(default_factory=OutputNames)
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
                stems = output_stems(sources, self.names.template.extra_bytes)
                taken: dict[str, str] = {}
                futures = deque(
                    pool.submit(self._plan_one, *pair) for pair in zip(sources, stems, strict=True)
                )
                while futures:
                    item = told_apart(futures[0].result(), taken)
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
        kept = kept_probe(self.places.out, video_id)
        folder = self.places.out / STATE_FOLDER / "work" / video_id
        self.places.require_no_link(folder, source)
        known = read_info(kept)
        if self.begin_anew is not None:
            self.begin_anew(video_id, None if known is None else known.fingerprint)
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
        settings, found = with_keep_out(chosen.settings, source.path, info)
        info = replace(info, notes=(*info.notes, *found))
        require_fit(settings.matting, info)
        possible, impossible = self.fit(info, settings)
        settings = self.settle(info, possible, index_path)
        settings, told = self.engine(
            info, settings, lambda asked: self.past(video_id, asked.fingerprint())
        )
        info = replace(info, notes=(*info.notes, *told))
        prompts = prompts_for(settings.matting, source.path, whole, index_path)
        packed = None if prompts is None else pack(on_frames_taken(prompts, info))
        if prompts is not None:
            info = replace(info, notes=(*info.notes, *prompts.notes))
        if packed is not None:
            settings = replace(settings, prompts_sha256=digest_of(packed))
        settings = with_objects(settings, prompts)
        work_dir = folder / settings.fingerprint()
        self.places.require_no_link(work_dir, source)
        start, stop = frames_taken(info, settings)
        shown = output_video(info, settings)
        left_out = [f"{name} is not made: {error}" for name, error in impossible.items()]
        info = replace(
            info,
            notes=(
                *info.notes,
                *left_out,
                *enhanced_in_words(settings.enhance, shown),
                *losses(shown, settings),
                *self.names.notes(shown, settings),
            ),
        )
        objects = names_in_files(prompts.names) if prompts is not None else ()
        names = self.names.of(stem.name, shown, settings, objects)
        outputs = [self.places.out / stem.parent / name for name in names]
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
            left_out=tuple(impossible),
        )
        is_done = self.is_done(job)
        job = replace(job, replaceable=self.places.replaceable(job, source, is_done=is_done))
        if packed is not None and not is_done:
            keep_prompts(work_dir, packed)
        return job


def _is_of(info: VideoInfo, path: Path) -> bool:
    status = path.stat()
    return (info.size_bytes, info.mtime_ns) == (status.st_size, status.st_mtime_ns)


def _is_sound(index_path: Path, info: VideoInfo) -> bool:
    try:
        return FrameIndex.load(index_path).belongs_to(info)
    except (OSError, ValueError):
        return False


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
