"""Read, merge and check the settings, the first step of a job.

Each of these overrides those before it: the defaults, the preset, the file, the file's overrides
for some of the videos, and what was typed. The groups that decide pixels are the classes that the
pipeline obeys (`pipeline/contract`); the others are in `groups.py`.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from itertools import chain
from pathlib import Path, PurePath
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator.settings.checks import Problem, problems
from orchestrator.settings.groups import (
    InputSettings,
    LimitSettings,
    LoggingSettings,
    NotifySettings,
    OutputSettings,
    RecoverySettings,
    WorkerSettings,
)
from orchestrator.settings.keys import GROUPS, KEYS, descriptions, unknown
from orchestrator.settings.matting_group import DEFAULT_MATTING, Flat
from orchestrator.settings.old_names import with_new_names
from orchestrator.settings.option_keys import SHORT_KEYS
from orchestrator.settings.overrides import Override, Values, laid_over, read_overrides
from orchestrator.settings.presets import preset_values
from orchestrator.settings.yaml_file import (
    Keys,
    Report,
    SettingsFile,
    no_mapping,
    read_settings_file,
    refuse,
)
from pipeline.contract import (
    AdaptiveScaling,
    EncodingSettings,
    EnhanceSettings,
    KeepOut,
    Layout,
    MattingSettings,
    ProcessingSettings,
    ProjectionName,
    StereoSettings,
    StreamingSettings,
    VideoSettings,
)
from pipeline.errors import SettingsError
from pipeline.files import disk
from pipeline.foreign.wrong_values import given, wrong_value
from pipeline.stages.matting.catalogue import narrowed

#: Settings whose values are objects, or lists of them.
_INNER = {"adaptive_scaling": AdaptiveScaling, "keep_out": KeepOut}

#: The folder in OUT that holds everything but the outputs.
STATE_FOLDER = disk.STATE_FOLDER


class Settings(BaseModel):
    """Everything that a settings file can say."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    preset: Annotated[
        str | None,
        Field(description="named bundle of settings; overrides the defaults and nothing else"),
    ] = None
    input: InputSettings = InputSettings()
    output: OutputSettings = OutputSettings()
    streaming: StreamingSettings = StreamingSettings()
    processing: ProcessingSettings = ProcessingSettings()
    matting: Annotated[MattingSettings, Flat] = DEFAULT_MATTING
    stereo: StereoSettings = StereoSettings()
    enhance: EnhanceSettings = EnhanceSettings()
    encoding: EncodingSettings = EncodingSettings()
    recovery: RecoverySettings = RecoverySettings()
    limits: LimitSettings = LimitSettings()
    workers: WorkerSettings = WorkerSettings()
    logging: LoggingSettings = LoggingSettings()
    notify: NotifySettings = NotifySettings()
    overrides: tuple[Override, ...] = ()


def video_settings(settings: Settings) -> VideoSettings:
    """The part of the settings that decides what comes out of one video.

    A range that is given in times is not in it: `orchestrator.plan.part` makes frames of them.
    """
    return VideoSettings(
        deliverables=tuple(dict.fromkeys(settings.output.formats)),
        start_frame=settings.input.start_frame,
        max_frames=settings.input.max_frames,
        every=settings.input.every,
        deinterlace=settings.input.deinterlace,
        audio=settings.output.audio,
        per_object=settings.output.per_object,
        streaming=settings.streaming,
        processing=settings.processing,
        matting=narrowed(settings.matting),
        stereo=settings.stereo,
        enhance=settings.enhance,
        encoding=settings.encoding,
    )


def forced_layout(settings: Settings) -> Layout | None:
    """The layout that the settings force, or None where the file decides."""
    return None if settings.input.layout == "auto" else settings.input.layout


def forced_projection(settings: Settings) -> ProjectionName | None:
    """The projection that the settings force, or None where the file decides."""
    return None if settings.input.projection == "auto" else settings.input.projection


def load_settings(
    path: Path | None,
    typed: Values,
    preset: str | None = None,
    on_note: Callable[[str], object] = lambda line: None,
    *,
    report: Report = refuse,
    further: Callable[[Settings], Iterator[Problem]] = lambda settings: iter(()),
) -> Settings:
    """Read a settings file, lay the command line's options over it, and check the result.

    Args:
        path: YAML file, or None for the defaults.
        typed: values given on the command line; only those that were given. They hold for every
            video, whatever the file's overrides say.
        preset: given on the command line; overrides any in the file.
        on_note: called with one line for each old name of a setting in the file.
        report: called with each mistake; if it returns, the value at fault is left out.
        further: other mistakes that are looked for, beside those of `checks.problems`.

    Raises:
        SettingsError: names the file and line, the key, and the nearest key that exists.
    """
    file = SettingsFile()
    if path is not None:
        file = with_new_names(read_settings_file(path, report), on_note)
    written = _written(file, report)
    try:
        name, values = _with_preset(file, written, preset)
    except SettingsError as error:
        report(error)
        name, values = None, laid_over(written)
    asked = laid_over(values, typed)
    seen: set[tuple[Keys, str]] = set()

    def checked(values: Values, where: Callable[[Keys], str]) -> tuple[Settings, Values]:
        settings, values = _without_wrong(values, name, where, report)
        for keys, error in chain(problems(settings), further(settings)):
            if (keys, error.message) not in seen:  # of an override: it is not the file's own
                seen.add((keys, error.message))
                report(SettingsError(where(keys) + error.message, error.advice))
        return settings, values

    settings, sound = checked(asked, lambda keys: _origin(file, typed, keys))
    overrides = []
    for number, override in read_overrides(file, typed, preset is not None, report):
        own = laid_over(sound, override.values)
        _, left = checked(own, partial(_where, file, number))
        overrides.append(_narrowed(override, left))
    return settings.model_copy(update={"overrides": tuple(overrides)})


def settings_for(settings: Settings, source: PurePath) -> Settings:
    """The settings of one source, with the overrides that match its relative path applied."""
    return with_overrides(settings, [each for each in settings.overrides if each.matches(source)])


def with_overrides(settings: Settings, overrides: Sequence[Override]) -> Settings:
    """The settings with these overrides applied, in turn, and none left."""
    if not overrides:
        return settings.model_copy(update={"overrides": ()})
    values = laid_over(_values(settings), *(each.values for each in overrides))
    return _checked(values, settings.preset)


def spelled_out(settings: Settings) -> Settings:
    """The same settings with the numbers that the quality stands for."""
    return settings.model_copy(update={"encoding": settings.encoding.spelled_out()})


def as_mapping(settings: Settings) -> dict[str, Any]:
    """All settings as plain values, as a settings file could hold them; for ``run.yaml``.

    The values of a preset are among them, its name is not. Nor are addresses: whoever knows one may
    post there, or read what is posted.
    """
    overrides = [{"match": each.match, **each.values} for each in settings.overrides]
    # A copy of every list: YAML would write one that two share as an alias.
    values = {**_values(settings), "notify": {"to": []}}
    return {**values, "overrides": json.loads(json.dumps(overrides, default=str))}


def differing(settings: Settings, general: Settings) -> dict[str, Any]:
    """The settings that differ from `general`, by ``group.key``, as plain values."""
    usual = _values(general)
    return {
        f"{group}.{key}": value
        for group, members in _values(settings).items()
        for key, value in members.items()
        if value != usual[group][key]
    }


def _values(settings: Settings) -> dict[str, dict[str, Any]]:
    """The groups as plain values."""
    return settings.model_dump(mode="json", include=set(GROUPS))


def _checked(values: Values, preset: str | None) -> Settings:
    # JSON's strictness: "3" and true are no numbers, but a list may become a tuple.
    text = json.dumps({**values, "preset": preset}, default=str)
    return Settings.model_validate_json(text, strict=True)


def _without_wrong(
    values: Values, preset: str | None, where: Callable[[Keys], str], report: Report
) -> tuple[Settings, Values]:
    """The settings, and their values without those that were reported to be wrong."""
    left = laid_over(values)
    while True:
        try:
            return _checked(left, preset), left
        except ValidationError as error:
            first: dict[Keys, Mapping[str, Any]] = {}
            for problem in error.errors(include_url=False):
                first.setdefault(problem["loc"][:2], dict(problem))
        for (group, *key), wrong in first.items():
            report(_wrong_value(wrong, where(wrong["loc"])))
            if key:
                del left[str(group)][str(key[0])]
            else:
                del left[str(group)]


def _narrowed(override: Override, left: Values) -> Override:
    """With those of its values that are `left`."""
    kept = {
        group: {key: value for key, value in members.items() if key in left.get(group, {})}
        for group, members in override.values.items()
    }
    return replace(override, values=kept)


def _written(file: SettingsFile, report: Report) -> dict[str, dict[str, Any]]:
    """The groups that a file holds, all of their keys known."""
    found: dict[str, dict[str, Any]] = {}
    for group, members in file.values.items():
        if group in ("preset", "overrides"):
            continue
        if group in SHORT_KEYS and group not in GROUPS:
            report(_misplaced(file, group, members))
        elif group not in GROUPS:
            report(unknown(file.where(group), group, ("preset", "overrides")))
        elif isinstance(members, dict):
            for key in members:
                if key not in KEYS[group]:
                    report(unknown(file.where(group, key), f"{group}.{key}"))
            found[group] = {key: members[key] for key in members if key in KEYS[group]}
        elif members is not None:  # "streaming:" and nothing under it changes nothing
            report(no_mapping(file.where(group), group))
    return found


def _misplaced(file: SettingsFile, name: str, value: Any) -> SettingsError:
    """An option's name outside of its group, where only overrides may have it."""
    group, key = SHORT_KEYS[name]
    inner = "..." if isinstance(value, dict | list) or value is None else str(value)
    return SettingsError(
        f"{file.where(name)}{name!r} belongs to the group {group!r}",
        f"write {group}: {{{key}: {inner}}} ({group}.{key})",
    )


def _with_preset(
    file: SettingsFile, written: Values, typed: str | None
) -> tuple[str | None, dict[str, dict[str, Any]]]:
    """The preset's name, and its settings overridden by the file's.

    Raises:
        SettingsError: there is no preset of that name; or the file overrides all that it sets, as
            a file with every default does.
    """
    name = file.values.get("preset") if typed is None else typed
    if name is None:
        return None, laid_over(written)
    where = file.where("preset") if typed is None else ""
    if not isinstance(name, str):
        raise SettingsError(f"{where}a preset is a name", "`vrmatte config presets` lists them")
    values = laid_over(preset_values(name, where))
    settled = laid_over(values, written)
    pairs = [(group, key) for group, members in values.items() for key in members]
    kept = [pair for pair in pairs if pair[1] not in written.get(pair[0], {})]
    changed = [(g, k) for g, k in pairs if settled[g][k] != values[g][k]]
    if changed and not kept:
        group, key = changed[0]
        raise SettingsError(
            f"{file.where(group, key)}{group}.{key} overrides the preset {name!r}, which then"
            " changes nothing",
            "remove that line, or the preset",
        )
    return name, settled


def _origin(file: SettingsFile, typed: Values, keys: Keys) -> str:
    """``--format: `` or ``FILE, line N: ``: where a value that holds for all videos comes from."""
    group, key, *_ = (*keys, "", "")
    if key in typed.get(str(group), {}):
        return _option(group, key)
    return file.where(*keys)


def _where(file: SettingsFile, number: int, keys: Keys) -> str:
    """The place where an override sets a value: under its group, or by a short key."""
    for short, target in SHORT_KEYS.items():
        if target == keys[:2] and ("overrides", number, short) in file.lines:
            return file.where("overrides", number, short, *keys[2:])
    return file.where("overrides", number, *keys)


def _option(group: str | int, key: str | int) -> str:
    """``--scale: ``: what was typed, by its name; nothing where no option sets it."""
    for name, target in reversed([*SHORT_KEYS.items()]):
        if target == (group, key):
            return f"--{name.replace('_', '-')}: "
    return ""


def _wrong_value(problem: Mapping[str, Any], where: str) -> SettingsError:
    group, key, *inner = (*map(str, problem["loc"]), "", "")
    name = f"{group}.{key}" if key else group
    item, leaf = (inner[0], inner[1]) if inner[0].isdecimal() else ("", inner[0])
    if leaf.isidentifier():  # inside of an object, or of one in a list
        name = f"{name}, item {int(item) + 1}, {leaf}" if item else f"{name}.{leaf}"
    elif item:
        name = f"{name}, item {int(item) + 1}"
    if problem["type"] == "unexpected_keyword_argument":
        known = [each.name for each in fields(_INNER[key])]
        near = difflib.get_close_matches(leaf, known, 1)
        advice = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        return SettingsError(f"{where}there is no key {name!r}", advice)
    what, shown = wrong_value(problem), given(problem["input"])
    return SettingsError(f"{where}{name}{shown}: {what}", descriptions(group)[key])
