"""Settle by which built engine a video is made, when it is planned; torch, where there is none yet.

It decides pixels: what was begun by torch before an engine was built goes on by torch, and what was
finished by an engine that is gone since is not made again. The file that serves a video is recorded
in OUT for that.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock

from orchestrator.engines.request import EngineAnswer, EngineRequest
from orchestrator.out.journal import Past
from pipeline.contract import VideoInfo, VideoSettings
from pipeline.engines.catalogue import ENGINES, EngineName
from pipeline.engines.compiled_files import CompiledFiles, Key
from pipeline.engines.keys import Buildable, key_of
from pipeline.errors import MachineError
from pipeline.files.disk import make_folder, write_file, writing
from pipeline.foreign.json_text import read_json
from pipeline.stages.matting.catalogue import facts_of, function_of
from pipeline.text import printable

_LONGEST_NOTE = 1 << 16


class Wishes:
    """Engines that videos would have been made by. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._open: list[EngineRequest] = []
        self._known: set[Key] = set()
        self.on_add: Callable[[], object] = lambda: None

    def add(self, request: EngineRequest) -> None:
        """Each key once."""
        with self._lock:
            if request.key in self._known:
                return
            self._known.add(request.key)
            self._open.append(request)
        self.on_add()

    def take(self) -> EngineRequest | None:
        """The next one that nobody has taken."""
        with self._lock:
            return self._open.pop(0) if self._open else None


@dataclass(frozen=True, slots=True)
class EngineChooser:
    """Chooses for all videos of a run. Thread-safe.

    Attributes:
        folder: where the choices of this OUT are kept.
        kept: the folder of engines.
        device_kind: ``"cpu"`` or ``"cuda"``, what the workers have.
        device_names: of all GPUs of the workers.
        driver: version of their driver.
        compare: `orchestrator.engines.request.build_engine` on a worker's device, or a double.
        wishes: what is to be built.
        on_cluster: other machines do the work.
    """

    folder: Path
    kept: Path
    device_kind: str
    device_names: tuple[str, ...]
    driver: str
    compare: Callable[[EngineRequest], EngineAnswer]
    wishes: Wishes = field(default_factory=Wishes)
    on_cluster: bool = False
    _lock: Lock = field(default_factory=Lock)
    _compared: dict[Key, str | None] = field(default_factory=dict)

    def choose(
        self, info: VideoInfo, settings: VideoSettings, past: Callable[[VideoSettings], Past]
    ) -> tuple[VideoSettings, tuple[str, ...]]:
        """The settings with the engine decided, and notes on the video.

        Args:
            past: what earlier runs did of the video under other settings.

        Raises:
            DiskError: the choice cannot be recorded.
        """
        row = ENGINES.get(settings.processing.engine)
        if row is None or not row.in_background or settings.processing.engine_file is not None:
            return settings, ()
        facts = facts_of(settings.matting)
        if facts.buildable is None or row.name not in facts.engines:
            return settings, ()
        torch_name: EngineName = "cuda_graph" if self.device_kind == "cuda" else "torch"
        by_torch = replace(settings, processing=replace(settings.processing, engine=torch_name))
        note = self.folder / f"{info.fingerprint[:16]}-{settings.fingerprint()}.json"
        noted = _noted(note)
        if noted is not None and past(_by_file(settings, noted)) == "done":
            return _by_file(settings, noted), ()  # whatever has become of the engine since
        with self._lock:
            digest, why = self._found(info, settings, begun=past(by_torch) != "nothing")
        gone = noted is not None and past(_by_file(settings, noted)) == "begun"
        if digest is None:
            again = "; the engine with which it was begun is not used any more" if gone else ""
            said = printable(f"made by torch, not by {row.name}: {why}{again}")
            return by_torch, (said,)
        _record(note, digest)
        anew = (f"the {row.name} engine was built anew, so that the video begins again",)
        return _by_file(settings, digest), anew if gone and noted != digest else ()

    def _found(
        self, info: VideoInfo, settings: VideoSettings, *, begun: bool
    ) -> tuple[str | None, str]:
        """The digest of the engine's file; or None, and why there is none.

        Args:
            begun: by torch, by which all of the video is made then.
        """
        name = settings.processing.engine
        if self.on_cluster:
            return None, "one engine does not serve the GPUs of several machines"
        if len(set(self.device_names)) > 1:
            return None, "one engine does not serve GPUs of several kinds"
        facts = facts_of(settings.matting)
        assert facts.buildable is not None
        what = function_of(facts, facts.buildable)(
            settings.matting, settings.processing, info.eye_shape, self.device_kind
        )
        if not isinstance(what, Buildable):
            return None, str(what)
        device = next(iter(self.device_names), self.device_kind)
        key = key_of(name, what, device, self.driver)
        files = CompiledFiles(self.kept)
        files.drop_stale(key)
        kept = files.read(key)
        request = EngineRequest(info, settings, key, str(self.kept))
        if kept is None:
            self.wishes.add(request)
            return None, "its engine is not built yet (`vrmatte engines build` builds it)"
        if begun:
            return None, "it was begun before its engine was built (--fresh makes it anew)"
        if kept.refused is None and key not in self._compared:
            try:
                self._compared[key] = self.compare(request).refused
            except MachineError as error:
                self._compared[key] = f"it cannot be compared with torch: {error.message}"
        refused = kept.refused or self._compared.get(key)
        if refused is not None:
            return None, f"its engine is not to be trusted: {refused}"
        return kept.digest, ""


def _by_file(settings: VideoSettings, digest: str) -> VideoSettings:
    return replace(settings, processing=replace(settings.processing, engine_file=digest))


def _noted(path: Path) -> str | None:
    """The digest of the file by which the video was planned last; None: there was none."""
    try:
        said = read_json(path, _LONGEST_NOTE)["engine_file"]
    except (ValueError, LookupError, TypeError):  # not there, or damaged: choose again
        return None
    return said if isinstance(said, str) else None


def _record(path: Path, digest: str) -> None:
    with writing(path):
        make_folder(path.parent)
    write_file(path, json.dumps({"engine_file": digest}).encode() + b"\n")
