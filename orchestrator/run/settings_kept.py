"""Keeps the settings of each video of a run in OUT, for `vrmatte redo`."""

from __future__ import annotations

from collections.abc import Hashable

from orchestrator.fleet.jobs import VideoJob
from orchestrator.out.folder import OutFolder
from orchestrator.out.made_with import MadeWith, keep_made_with
from orchestrator.plan.per_file import PerFile
from orchestrator.settings.settings import with_overrides


class SettingsKept:
    """Writes each set of settings once."""

    def __init__(self, out: OutFolder, per_file: PerFile) -> None:
        self._out = out
        self._asked = per_file.asked
        self._sources = {source.name: source for source in per_file.wanted}
        self._names: dict[Hashable, str] = {}

    def name_for(self, job: VideoJob) -> str:
        """Under which the settings of a video are kept; empty: its source is not known.

        Raises:
            DiskError: they cannot be written.
        """
        source = self._sources.get(job.name)
        if source is None:
            return ""
        matching = [
            place
            for place, each in enumerate(self._asked.overrides)
            if each.matches(source.relative)
        ]
        key = (tuple(matching), job.settings, job.left_out)
        if key not in self._names:
            overrides = [self._asked.overrides[place] for place in matching]
            said = MadeWith.of(with_overrides(self._asked, overrides), job)
            self._names[key] = keep_made_with(self._out, said)
        return self._names[key]
