"""Overrides: other settings for the videos whose names match a pattern.

A pattern is compared with a source's path relative to its input. Without a slash it is compared
with the file's name alone, in whatever folder; with one, with the whole path, where `*` and `?`
stay inside a name and `**` is any number of folders. Case is ignored, and so is whether an accent
is a character of its own, as on a Mac. If several match, later ones override earlier ones.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import PurePath
from typing import Any

from orchestrator.settings.keys import GROUPS, KEYS, unknown
from orchestrator.settings.option_keys import SHORT_KEYS
from orchestrator.settings.presets import preset_values
from orchestrator.settings.yaml_file import Report, SettingsFile, no_mapping, refuse
from pipeline.errors import SettingsError

#: Settings as nested mappings: group -> key -> value.
Values = Mapping[str, Mapping[str, Any]]

#: Settings that say the same thing in two ways; a layer that has one takes back the other's.
TWINS: Mapping[tuple[str, str], str] = {
    ("input", "start_frame"): "start",
    ("input", "start"): "start_frame",
    ("input", "max_frames"): "end",
    ("input", "end"): "max_frames",
}

_FOR_ALL_GROUPS = frozenset({"recovery", "limits", "workers", "logging", "notify"})
_FOR_ALL_KEYS = frozenset(
    {
        ("input", "follow_links"),  # decides which videos there are
        ("output", "name"),  # names must differ from video to video
        ("output", "sidecar"),
        ("output", "local_folder"),  # a worker's, as lanes are
        ("streaming", "lanes"),  # a worker's, whatever video each of them has
        ("processing", "intra_op_threads"),  # of a whole process, and it alters bits
    }
)

#: Short keys whose value may be one name instead of a list.
_LISTS = frozenset({("output", "formats"), ("matting", "dlc_bodyparts")})


@dataclass(frozen=True, slots=True)
class Override:
    """The settings that change for the videos that match.

    Attributes:
        values: as in a settings file; nested mappings of plain values.
        line: where it begins in the settings file, if it came from one.
    """

    match: str
    values: Values = field(hash=False)
    line: int | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        where = "" if self.line is None else f" of line {self.line}"
        return f"the override {self.match!r}{where}"

    def matches(self, source: PurePath) -> bool:
        """Whether it applies to the source with that relative path."""
        pattern = tuple(_folded(self.match).split("/"))
        parts = tuple(_folded(part) for part in source.parts)
        return _matches(parts if len(pattern) > 1 else parts[-1:], pattern)


def may_differ(group: str, key: str) -> bool:
    """Whether a setting may have another value for some of the videos."""
    return group not in _FOR_ALL_GROUPS and (group, key) not in _FOR_ALL_KEYS


def laid_over(below: Values, *above: Values) -> dict[str, dict[str, Any]]:
    """The settings `below`, overridden by each of `above` in turn."""
    merged = {group: dict(members) for group, members in below.items()}
    for values in above:
        for group, members in values.items():
            for key in members:
                merged.get(group, {}).pop(TWINS.get((group, key), ""), None)
            merged.setdefault(group, {}).update(members)
    return merged


def read_overrides(
    file: SettingsFile, typed: Values, preset_typed: bool, report: Report = refuse
) -> Iterator[tuple[int, Override]]:
    """The overrides of a settings file, each with its place in the list.

    Keys that were given on the command line are left out: those apply to every video.

    Args:
        preset_typed: whether a preset was typed, which overrides theirs.
        report: called with each mistake; if it returns, the value at fault is left out.

    Raises:
        SettingsError: a key is unknown, or cannot differ from video to video; with its line.
    """
    entries = file.values.get("overrides")
    if entries is None:
        return
    if not isinstance(entries, list):
        report(
            SettingsError(
                f"{file.where('overrides')}overrides must be a list", 'write: - match: "*green*"'
            )
        )
        return
    for number, entry in enumerate(entries):
        try:
            override = _read_one(file, number, entry, typed, preset_typed, report)
        except SettingsError as error:
            report(error)
            continue
        if override.values:
            yield number, override


def _read_one(
    file: SettingsFile,
    number: int,
    entry: Any,
    typed: Values,
    preset_typed: bool,
    report: Report,
) -> Override:
    where = file.where("overrides", number)
    if not isinstance(entry, dict):
        raise no_mapping(where, "an override")
    found: dict[tuple[str, str], Any] = {}
    wrong: list[SettingsError] = []
    preset: Values = {}
    for group, key, value, line in _settings_of(file, number, entry, wrong.append):
        name = f"{line}{group}.{key}"
        if not may_differ(group, key):
            wrong.append(
                SettingsError(f"{name} is the same for all videos", "set it outside of overrides")
            )
        elif (group, key) in found:
            wrong.append(SettingsError(f"{name} is given twice", "keep one of the two"))
        else:
            found[group, key] = value
    for error in wrong:
        report(error)
    if wrong and "match" not in entry:  # which may be the one that is written wrongly
        return Override("", {})
    match = _pattern(entry.get("match"), where)
    if "preset" in entry:
        if not isinstance(entry["preset"], str):
            raise SettingsError(
                f"{file.where('overrides', number, 'preset')}a preset is a name",
                "`vrmatte config presets` lists them",
            )
        preset = preset_values(entry["preset"], file.where("overrides", number, "preset"))
    elif not found and not wrong:
        raise SettingsError(
            f"{where}the override {match!r} changes nothing", "write settings below `match`"
        )
    values: dict[str, dict[str, Any]] = laid_over({} if preset_typed else preset)
    for (group, key), value in found.items():
        values.setdefault(group, {})[key] = value
    free = {
        group: {
            key: value
            for key, value in members.items()
            if not {key, TWINS.get((group, key))} & typed.get(group, {}).keys()
        }
        for group, members in values.items()
    }
    left = {group: members for group, members in free.items() if members}
    return Override(match, left, file.line("overrides", number))


def _settings_of(
    file: SettingsFile, number: int, entry: Mapping[str, Any], report: Report
) -> Iterator[tuple[str, str, Any, str]]:
    """Group, key, value and place (for messages) of each setting of an override."""
    for name, value in entry.items():
        where = file.where("overrides", number, name)
        if name in GROUPS and (name not in SHORT_KEYS or isinstance(value, dict | None)):
            if value is not None and not isinstance(value, dict):
                report(no_mapping(where, name))
                continue
            for key, member in (value or {}).items():
                where = file.where("overrides", number, name, key)
                if key in KEYS[name]:
                    yield name, key, member, where
                else:
                    report(unknown(where, f"{name}.{key}"))
        elif name in SHORT_KEYS:
            group, key = SHORT_KEYS[name]
            if (group, key) in _LISTS and isinstance(value, str):
                value = [part.strip() for part in value.split(",")]
            yield group, key, value, where
        elif name not in ("match", "preset"):
            report(unknown(where, name, ("match", "preset", *SHORT_KEYS)))


def _pattern(match: Any, where: str) -> str:
    if not isinstance(match, str) or not match:
        raise SettingsError(
            f"{where}an override needs `match`, a pattern of file names in quotes",
            'write: match: "*green*"',
        )
    if match.startswith("/"):
        raise SettingsError(
            f"{where}match {match!r} begins with a slash", "paths are relative to the input folder"
        )
    if match.endswith("/"):
        raise SettingsError(
            f"{where}match {match!r} ends in a slash",
            f"{match + '**'!r} is for all videos in that folder",
        )
    return match


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text.lower())


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether the names on a path match a pattern's, one by one; ``**`` is any number of them."""

    @cache
    def from_here(part: int, piece: int) -> bool:
        if piece == len(pattern):
            return part == len(parts)
        if pattern[piece] == "**" and len(pattern) > 1:
            return from_here(part, piece + 1) or (part < len(parts) and from_here(part + 1, piece))
        return (
            part < len(parts)
            and fnmatchcase(parts[part], pattern[piece])
            and from_here(part + 1, piece + 1)
        )

    return from_here(0, 0)
