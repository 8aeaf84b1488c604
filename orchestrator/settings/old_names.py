"""Settings that have another name now: a file with the old name is read, with a note."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from orchestrator.settings.option_keys import OLD_OPTIONS
from orchestrator.settings.yaml_file import Keys, SettingsFile
from pipeline.errors import SettingsError

#: Group -> old key -> key now.
OLD_KEYS: Mapping[str, Mapping[str, str]] = {"output": {"scratch": "local_folder"}}


def with_new_names(file: SettingsFile, on_note: Callable[[str], object]) -> SettingsFile:
    """`file` with the names of now, in its groups and in its overrides.

    Args:
        on_note: called with one line for each old name, with its place in the file.

    Raises:
        SettingsError: a setting is given by its old name and by its new one.
    """
    lines = dict(file.lines)

    def renamed(members: Any, names: Mapping[str, str], place: Keys, prefix: str) -> Any:
        if not isinstance(members, dict):
            return members
        for old in names.keys() & members.keys():
            where, new = file.where(*place, old), names[old]
            if new in members:
                raise SettingsError(
                    f"{where}{prefix}{old} is the old name of {prefix}{new}, which is given too",
                    f"remove {prefix}{old}",
                )
            on_note(f"{where}{prefix}{old} is now named {prefix}{new}")
            lines[*place, new] = lines.pop((*place, old))
        return {names.get(key, key): value for key, value in members.items()}

    def groups(members: Mapping[str, Any], place: Keys) -> dict[str, Any]:
        return {
            name: renamed(value, OLD_KEYS.get(name, {}), (*place, name), f"{name}.")
            for name, value in members.items()
        }

    values = groups(file.values, ())
    overrides = values.get("overrides")
    if isinstance(overrides, list):
        values["overrides"] = [
            groups(renamed(entry, OLD_OPTIONS, ("overrides", number), ""), ("overrides", number))
            if isinstance(entry, dict)
            else entry
            for number, entry in enumerate(overrides)
        ]
    return replace(file, values=values, lines=lines)
