"""`--model auto`: the model that suits a video, by a handful of its frames; and why.

The models are tried in the order of their rows (`ModelFacts.automatic`); the first of whose mattes
nothing is to be doubted is taken. The choice is recorded in OUT under the video and the settings,
because it decides pixels: a run that is resumed, on any machine, uses it again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from threading import BoundedSemaphore, Lock

from orchestrator.estimate.model_trial import ModelTrial, Tried
from orchestrator.estimate.trial import require_index
from orchestrator.out.folder import NOTE_DIGITS
from orchestrator.plan.planner import Candidates, Chosen
from pipeline.contract import AS_SOURCE, MattingSettings, VideoInfo, VideoSettings
from pipeline.errors import InputError, MachineError
from pipeline.files.disk import make_folder, write_file, writing
from pipeline.foreign.json_text import read_json
from pipeline.stages.matting.catalogue import weights_used
from pipeline.text import printable


@dataclass(frozen=True, slots=True)
class ModelChooser:
    """Chooses the models, for a few videos at a time. Thread-safe.

    Attributes:
        folder: where the choices of this OUT are kept.
        trial: `orchestrator.estimate.model_trial.try_models` on a worker's device, or a double.
        fetch_model: has code and weights of a model, or raises MachineError.
        on_trial: gets a description of each trial.
        turns: as many trials run at once as it allows.
    """

    folder: Path
    trial: Callable[[ModelTrial], Sequence[Tried]]
    fetch_model: Callable[[MattingSettings], object]
    on_trial: Callable[[str], None] = lambda what: None
    turns: BoundedSemaphore = field(default_factory=BoundedSemaphore)
    _lock: Lock = field(default_factory=Lock)
    _asked: dict[Path, Lock] = field(default_factory=dict)
    _lacking: dict[MattingSettings, str] = field(default_factory=dict)
    _helps: dict[MattingSettings, str] = field(default_factory=dict)

    def choose(self, info: VideoInfo, candidates: Candidates, index_path: Path) -> Chosen:
        """The settings with the model that suits the video.

        Raises:
            IndexGoneError: a trial is due, and the frame index is not there.
            InputError: none does; what each of them showed.
            MachineError: the trial failed.
            DiskError: the choice cannot be recorded.
        """
        prints = "".join(each.fingerprint() for each in candidates)
        digest = hashlib.sha256(prints.encode()).hexdigest()[:16]
        note = self.folder / f"{info.fingerprint[:NOTE_DIGITS]}-{digest}.json"
        with self._lock:
            alone = self._asked.setdefault(note, Lock())
        with alone:  # a copy of the same video waits for its answer
            noted = _noted(note, candidates)
            if noted is not None:
                return noted
            require_index(index_path)
            with self.turns:
                chosen = self._try(info, candidates, index_path)
            _note(note, chosen)
        return chosen

    def _try(self, info: VideoInfo, candidates: Sequence[VideoSettings], index: Path) -> Chosen:
        self.on_trial(f"looking which model suits {printable(Path(info.path).name)}")
        there = [each for each in candidates if not self._lacks(each.matting)]
        # Mattes are made and judged before anything is enhanced.
        asked = tuple(replace(each, enhance=AS_SOURCE) for each in there)
        tried = self.trial(ModelTrial(info, asked, str(index)))
        whys = {each.matting.model: self._lacking.get(each.matting, "") for each in candidates}
        for settings, found in zip(there, tried, strict=False):
            if found.suits:
                before = _told(whys, until=settings.matting.model)
                return Chosen(settings, "; ".join(filter(None, (found.why, before))))
            whys[settings.matting.model] = found.why
        raise InputError(
            f"no model suits it by its sampled frames ({_told(whys)})", self._advice(candidates)
        )

    def _advice(self, candidates: Sequence[VideoSettings]) -> str:
        """What may help: those that were tried do not, so that those are left that were not."""
        lacking = [each.matting for each in candidates if self._lacks(each.matting)]
        if not lacking:
            return "look with `vrmatte preview VIDEO --model NAME`, and name a model by --model"
        return "; ".join(f"for {each.model}: {self._helps[each]}" for each in lacking)

    def _lacks(self, matting: MattingSettings) -> str:
        """Why a model cannot be had; asked once for all videos."""
        with self._lock:
            if matting not in self._lacking:
                self._lacking[matting] = self._fetched(matting)
            return self._lacking[matting]

    def _fetched(self, matting: MattingSettings) -> str:
        try:
            if weights_used(matting):
                self.fetch_model(matting)
        except MachineError as error:
            self._helps[matting] = error.advice
            return f"cannot be had ({error.message})"
        return ""


def _told(whys: dict[str, str], until: str | None = None) -> str:
    """What stood against each model, those before `until`: nobody is passed over in silence."""
    before = takewhile(lambda pair: pair[0] != until, whys.items())
    return "; ".join(f"{name}: {why}" for name, why in before if why)


_LONGEST_NOTE = 1 << 16


def _noted(path: Path, candidates: Sequence[VideoSettings]) -> Chosen | None:
    try:
        said = read_json(path, _LONGEST_NOTE)
        name, why = said["model"], said["why"]
    except (ValueError, LookupError, TypeError):  # not there, or damaged: try again
        return None
    found = next((each for each in candidates if each.matting.model == name), None)
    return None if found is None or not isinstance(why, str) else Chosen(found, why)


def _note(path: Path, chosen: Chosen) -> None:
    with writing(path):
        make_folder(path.parent)
    said = {"model": chosen.settings.matting.model, "why": chosen.why}
    write_file(path, json.dumps(said).encode() + b"\n")
