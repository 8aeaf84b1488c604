"""The settings: what a person may write, checked. First thing on the way of a job.

The groups that decide pixels are the classes that the pipeline obeys (`pipeline/spec.py`); the
others are here. A setting exists only if something obeys it.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import SettingsError
from pipeline.models.names import require_model
from pipeline.spec import (
    EncodingSettings,
    Layout,
    MattingSettings,
    ProcessingSettings,
    ProjectionName,
    StereoSettings,
    StreamingSettings,
    VideoSettings,
)

#: The folder in OUT that holds everything but the outputs.
STATE_FOLDER = ".vrmatte"

#: A settings file is written by hand; anything longer is some other file.
LONGEST_FILE_BYTES = 1 << 18
DEEPEST_NESTING = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSettings:
    """Which videos are taken, and which part of them."""

    layout: Annotated[
        Literal["auto", "sbs", "tb", "mono"],
        Field(description="where the eyes are: auto (by tags, name, shape), sbs, tb or mono"),
    ] = "auto"
    projection: Annotated[
        Literal["auto"] | ProjectionName,
        Field(
            description="what each eye shows: auto (by tags, name, shape), equirect180,"
            " equirect360, fisheye180, fisheye190, fisheye200, fisheye220, or flat"
        ),
    ] = "auto"
    start_frame: Annotated[
        int, Field(ge=0, description="first frame of each video that is processed")
    ] = 0
    max_frames: Annotated[
        int | None, Field(ge=1, description="frames processed of each video; null: to its end")
    ] = None
    follow_links: Annotated[
        bool, Field(description="follow symbolic links that lead out of the input folder")
    ] = False
    probe_timeout_s: Annotated[
        float | None,
        Field(gt=0, le=86400, description="seconds a file's probe may take; null: by its size"),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSettings:
    """What is made of each video."""

    formats: Annotated[
        tuple[
            Literal["webm", "greenscreen", "alphapack", "matte", "prores", "hevc-alpha", "tiff"],
            ...,
        ],
        Field(
            min_length=1,
            description="formats to make: webm (VP9 with alpha), greenscreen (MP4 over one colour),"
            " alphapack (fisheye with the matte in its corners, for headsets), matte (alpha as grey"
            " MP4), prores (4444 with alpha in MOV), hevc-alpha (HEVC with an alpha layer, for"
            " Apple's players), tiff (stack of masks)",
        ),
    ] = ("webm",)
    sidecar: Annotated[
        bool, Field(description="write a JSON file beside each output, for DeoVR and HereSphere")
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoverySettings:
    """What happens after something went wrong."""

    attempts: Annotated[
        int, Field(ge=1, le=10, description="failed attempts after which a video is set aside")
    ] = 3
    auto_resume: Annotated[
        bool, Field(description="go on with an unfinished run; false: refuse, unless --fresh")
    ] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """How long things may take before they count as hung, and how much room they may take."""

    start_s: Annotated[
        float, Field(gt=0, description="seconds for a worker to start and to load its model")
    ] = 600.0
    first_frame_s: Annotated[
        float, Field(gt=0, description="seconds until a segment's first frame, warm-up included")
    ] = 900.0
    stall_s: Annotated[
        float, Field(gt=0, description="seconds that a segment may go without a new frame")
    ] = 300.0
    finish_s: Annotated[
        float, Field(gt=0, description="seconds for joining a video's segments and adding sound")
    ] = 3600.0
    grace_s: Annotated[
        float,
        Field(ge=0, description="seconds for the work in hand after Ctrl-C; then it is dropped"),
    ] = 120.0
    scratch_gb: Annotated[
        float, Field(gt=0, description="GB of segments that wait to be joined, in OUT/.vrmatte")
    ] = 10.0
    ram_gb: Annotated[
        float | None,
        Field(gt=0, description="GB of memory for all workers together; null: what is there"),
    ] = None
    vram_gb: Annotated[
        float | None,
        Field(gt=0, description="GB of each GPU that may be used; null: what it has"),
    ] = None
    reserve_gb: Annotated[
        float, Field(ge=0, description="GB that stay free on the disk of OUT; with less, it stops")
    ] = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """Which devices work."""

    gpus: Annotated[
        Literal["all", "none"] | tuple[Annotated[int, Field(ge=0)], ...],
        Field(description="all, none, or a list of GPUs as nvidia-smi numbers them: [0, 1]"),
    ] = "all"
    cpu_workers: Annotated[
        int, Field(ge=1, le=64, description="worker processes on the CPU where no GPU is used")
    ] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggingSettings:
    """What the log files under OUT/.vrmatte/logs hold."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Field(description="least level written: debug, info, warning or error"),
    ] = "info"


class Settings(BaseModel):
    """Everything that a settings file can say."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    input: InputSettings = InputSettings()
    output: OutputSettings = OutputSettings()
    streaming: StreamingSettings = StreamingSettings()
    processing: ProcessingSettings = ProcessingSettings()
    matting: MattingSettings = MattingSettings()
    stereo: StereoSettings = StereoSettings()
    encoding: EncodingSettings = EncodingSettings()
    recovery: RecoverySettings = RecoverySettings()
    limits: LimitSettings = LimitSettings()
    workers: WorkerSettings = WorkerSettings()
    logging: LoggingSettings = LoggingSettings()


#: Settings as nested mappings: group -> key -> value.
Overrides = Mapping[str, Mapping[str, Any]]


def video_settings(settings: Settings) -> VideoSettings:
    """The part of the settings that decides what comes out of one video."""
    return VideoSettings(
        deliverables=tuple(dict.fromkeys(settings.output.formats)),
        start_frame=settings.input.start_frame,
        max_frames=settings.input.max_frames,
        streaming=settings.streaming,
        processing=settings.processing,
        matting=settings.matting,
        stereo=settings.stereo,
        encoding=settings.encoding,
    )


def forced_layout(settings: Settings) -> Layout | None:
    """The layout that the person insists on, or None where the file decides."""
    return None if settings.input.layout == "auto" else settings.input.layout


def forced_projection(settings: Settings) -> ProjectionName | None:
    """The projection that the person insists on, or None where the file decides."""
    return None if settings.input.projection == "auto" else settings.input.projection


def load_settings(path: Path | None, overrides: Overrides) -> Settings:
    """Read a settings file, lay the command line's options over it, and check the result.

    Args:
        path: YAML file, or None for the defaults.
        overrides: values given on the command line; only those that were given.

    Raises:
        SettingsError: names the file and line, the key, and the nearest key that exists.
    """
    values: dict[str, dict[str, Any]] = {}
    lines: dict[tuple[str, ...], int] = {}
    if path is not None:
        values, lines = _read(path)
    for group, members in overrides.items():
        for key, value in members.items():
            values.setdefault(group, {})[key] = value
            lines.pop((group, key), None)
    try:
        # JSON's strictness: "3" and true are no numbers, but a list may become a tuple.
        settings = Settings.model_validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as error:
        raise _settings_error(error, path, lines) from None
    try:
        require_model(settings.matting.model)
    except SettingsError as error:
        line = lines.get(("matting", "model"))
        where = f"{path}, line {line}: " if line else ""
        raise SettingsError(where + error.message, error.advice) from None
    return settings


def spelled_out(settings: Settings) -> Settings:
    """The same settings with the numbers that the quality stands for."""
    return settings.model_copy(update={"encoding": settings.encoding.spelled_out()})


def as_mapping(settings: Settings) -> dict[str, dict[str, Any]]:
    """All settings as plain values, for ``run.yaml``."""
    return settings.model_dump(mode="json")


def default_text() -> str:
    """A settings file with every default, each explained."""
    out = ["# Settings of vrmatte. Every line shows its default; remove what you don't change.", ""]
    for group, members in _groups().items():
        out += [f"# {_summary(members)}", f"{group}:"]
        for key, description in _descriptions(members).items():
            out += textwrap.wrap(description, 96, initial_indent="  # ", subsequent_indent="  # ")
            out.append(f"  {key}: {_yaml_value(getattr(members, key))}")
        out.append("")
    return "\n".join(out)


def _groups() -> dict[str, Any]:
    """The default value of each group; a group is a dataclass."""
    return {name: info.default for name, info in Settings.model_fields.items()}


def _known_keys() -> dict[str, tuple[str, ...]]:
    return {
        name: tuple(f.name for f in dataclasses.fields(group)) for name, group in _groups().items()
    }


def _summary(group: Any) -> str:
    return str(type(group).__doc__).splitlines()[0]


def _descriptions(group: Any) -> dict[str, str]:
    schema = Settings.model_json_schema()["$defs"][type(group).__name__]["properties"]
    return {key: schema[key]["description"] for key in schema}


def _yaml_value(value: Any) -> str:
    plain = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(plain, default_flow_style=True, width=1000)
    return text.removesuffix("...\n").strip()


def _read(path: Path) -> tuple[dict[str, dict[str, Any]], dict[tuple[str, ...], int]]:
    """Values of a YAML file and the line, from 1, of each of its keys."""
    try:
        if path.stat().st_size > LONGEST_FILE_BYTES:
            raise SettingsError(f"{path} is too long for a settings file", "is it the right file?")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(
            f"cannot read the settings file {path}: {error.strerror}",
            "`vrmatte config init FILE` writes one",
        ) from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is not a text file in UTF-8", "save it as UTF-8") from None
    try:
        _refuse_oddities(text, path)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        lines = dict(_check_keys(root, path))
        values = yaml.safe_load(text) or {}
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark: yaml.Mark | None = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise SettingsError(
            f"{path}{where}: this is not YAML: {problem}", "check the indentation and the colons"
        ) from None
    # An empty group ("streaming:" and nothing under it) changes nothing.
    return {group: members for group, members in values.items() if members is not None}, lines


def _refuse_oddities(text: str, path: Path) -> None:
    """Refuse what no settings need and what can make a parser work for minutes."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        alias = isinstance(event, yaml.AliasEvent)
        if (alias or depth > DEEPEST_NESTING) and event.start_mark is not None:
            what = "aliases (*name) are not taken" if alias else "this is nested too deeply"
            raise SettingsError(
                f"{path}, line {event.start_mark.line + 1}: {what}",
                "write plain `key: value` lines",
            )


def _check_keys(root: yaml.Node | None, path: Path) -> Iterator[tuple[tuple[str, ...], int]]:
    """Refuse unknown and doubled keys; yield each key with its line."""
    if root is None or _is_null(root):
        return
    known = _known_keys()
    for group, line, members in _entries(root, path, "the file"):
        if group not in known:
            raise _unknown(f"{path}, line {line}: ", group, list(known))
        yield (group,), line
        if _is_null(members):
            continue
        for key, key_line, _ in _entries(members, path, group):
            if key not in known[group]:
                raise _unknown(f"{path}, line {key_line}: ", f"{group}.{key}", [])
            yield (group, key), key_line


def _is_null(node: yaml.Node) -> bool:
    return node.tag == "tag:yaml.org,2002:null"


def _entries(node: yaml.Node, path: Path, name: str) -> Iterator[tuple[str, int, yaml.Node]]:
    line = node.start_mark.line + 1
    if not isinstance(node, yaml.MappingNode):
        raise SettingsError(
            f"{path}, line {line}: {name} must hold `key: value` lines",
            "`vrmatte config init FILE` writes an example",
        )
    seen: dict[str, int] = {}
    for key_node, value in node.value:
        line = key_node.start_mark.line + 1
        key = str(key_node.value)
        if key in seen:
            raise SettingsError(
                f"{path}, line {line}: {key!r} was already given in line {seen[key]}",
                "keep one of the two",
            )
        seen[key] = line
        yield key, line, value


def _unknown(where: str, name: str, groups: list[str]) -> SettingsError:
    """An unknown key, with the nearest one: in its group, or of that name in another group."""
    known = [f"{group}.{key}" for group, keys in _known_keys().items() for key in keys]
    leaf = name.rpartition(".")[2]
    near = [*difflib.get_close_matches(name, groups, 1)]
    near += [full for full in known if full.endswith(f".{leaf}")]
    near += difflib.get_close_matches(name, known, 1)
    what = "group" if groups else "key"
    advice = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(groups or known)}"
    return SettingsError(f"{where}there is no {what} {name!r}", advice)


def _settings_error(
    error: ValidationError, path: Path | None, lines: Mapping[tuple[str, ...], int]
) -> SettingsError:
    problem = error.errors(include_url=False)[0]
    location = tuple(str(part) for part in problem["loc"][:2])
    name = ".".join(location)
    where = f"{path}, line {lines[location]}: " if location in lines else ""
    what = problem["msg"].replace("Input should", "it should")
    value = problem["input"]
    given = f" = {value!r}"[:60] if isinstance(value, str | int | float | None) else ""
    description = _descriptions(_groups()[location[0]]).get(location[-1], "") if location else ""
    return SettingsError(f"{where}{name}{given}: {what}", description)
