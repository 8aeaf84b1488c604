"""The groups of settings that concern the job, from its input to its logs and messages.

The groups that decide pixels are in `pipeline/contract`. Descriptions, with units, are shown by
`vrmatte config init` and by editors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from orchestrator.settings.name_template import DEFAULT_TEMPLATE, name_template
from orchestrator.settings.notify_address import ADDRESS_FORMS, address_of
from orchestrator.words import TIME_FORMS, seconds_of
from pipeline.contract import AudioMode, AutoOrOff, ProjectionName


def _time_text(value: Any) -> Any:
    """A time as text; YAML reads ``1:02`` as 62 and ``1:20.5`` as 80.5, which are its seconds."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = f"{value:.6f}".rstrip("0").rstrip(".")
    if isinstance(value, str):
        try:
            seconds_of(value)
        except ValueError:
            raise ValueError(f"it should be a time: {TIME_FORMS}") from None
    return value


#: A time in a video, counted from its first picture; `orchestrator.words.seconds_of` reads it.
Time = Annotated[str | None, BeforeValidator(_time_text, json_schema_input_type=str | float | None)]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSettings:
    """Which videos are processed, and which part of them."""

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
    start: Annotated[
        Time,
        Field(
            description="instead of start_frame, a time (12.5, 1:02 or 1:00:02) in each video: its"
            " first frame at or after it is the first"
        ),
    ] = None
    end: Annotated[
        Time,
        Field(description="instead of max_frames, a time in each video: frames before it are made"),
    ] = None
    every: Annotated[
        int,
        Field(
            ge=1,
            description="of these frames one in so many is made, for a quick look; the output lasts"
            " as long, at as low a frame rate",
        ),
    ] = 1
    deinterlace: Annotated[
        AutoOrOff,
        Field(
            description="interlaced videos: auto makes each picture whole from its fields and"
            " their neighbours (bwdif); off leaves the fields woven"
        ),
    ] = "auto"
    follow_links: Annotated[
        bool, Field(description="follow symbolic links that lead out of the input folder")
    ] = False
    probe_timeout_s: Annotated[
        float | None,
        Field(gt=0, le=86400, description="seconds a file's probe may take; null: by its size"),
    ] = None


def _template(text: str) -> str:
    name_template(text)
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSettings:
    """What is made of each video."""

    formats: Annotated[
        tuple[str, ...], Field(min_length=1, description="list of formats to make")
    ] = ("webm",)
    name: Annotated[
        str,
        AfterValidator(_template),
        Field(
            description="names of the outputs, before the ending of their format: {stem} (of the"
            " source), {model}, and {tags} (what VR players look for) at the end"
        ),
    ] = DEFAULT_TEMPLATE
    per_object: Annotated[
        bool,
        Field(
            description="make a file of each object that the prompts name, with it alone, instead"
            " of one with all of them; for models that follow prompts"
        ),
    ] = False
    audio: Annotated[
        AudioMode,
        Field(
            description="sound of formats that have it: keep (copied, or converted where the format"
            " asks for it), copy (only what can be copied byte by byte), or none"
        ),
    ] = "keep"
    sidecar: Annotated[
        bool, Field(description="write a JSON file beside each output, for DeoVR and HereSphere")
    ] = False
    local_folder: Annotated[
        str | None,
        Field(
            min_length=1,
            description="folder on a local disk (of each node) where the segments in hand are"
            " written, to be moved to OUT whole; null: they are written in OUT",
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoverySettings:
    """Retries, and resuming an unfinished run."""

    attempts: Annotated[
        int, Field(ge=1, le=10, description="failed attempts after which a video is set aside")
    ] = 3
    auto_resume: Annotated[
        bool, Field(description="resume an unfinished run; false: refuse, unless --fresh")
    ] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """Time after which a step counts as hung, and limits of memory and disk."""

    start_s: Annotated[
        float,
        Field(
            gt=0,
            description="seconds for a worker to start, and to load the model where all videos have"
            " the same",
        ),
    ] = 600.0
    first_frame_s: Annotated[
        float,
        Field(
            gt=0,
            description="seconds until a segment's first frame, warm-up included, and loading the"
            " model",
        ),
    ] = 900.0
    stall_s: Annotated[
        float, Field(gt=0, description="seconds that a segment may go without a new frame")
    ] = 300.0
    finish_s: Annotated[
        float, Field(gt=0, description="seconds for joining a video's segments and adding sound")
    ] = 3600.0
    grace_s: Annotated[
        float,
        Field(
            ge=0,
            description="seconds to finish the work in hand after Ctrl-C; the rest is discarded",
        ),
    ] = 120.0
    join_s: Annotated[
        float,
        Field(
            ge=0,
            description="seconds for a node to join a run on a cluster that has no worker left;"
            " then its videos are set aside",
        ),
    ] = 300.0
    scratch_gb: Annotated[
        float,
        Field(
            gt=0,
            description="GB of segments that wait to be joined, in OUT/.vrmatte; those in"
            " output.local_folder do not count",
        ),
    ] = 10.0
    ram_gb: Annotated[
        float | None,
        Field(
            gt=0, description="GB of memory for all workers together; null: what the machine has"
        ),
    ] = None
    vram_gb: Annotated[
        float | None,
        Field(gt=0, description="GB of each GPU that may be used; null: what it has"),
    ] = None
    reserve_gb: Annotated[
        float,
        Field(ge=0, description="GB that stay free on the disk of OUT; with less, the run stops"),
    ] = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """Which devices the workers use."""

    gpus: Annotated[
        Literal["all", "none"] | tuple[Annotated[int, Field(ge=0)], ...],
        Field(description="all, none, or a list of GPUs as nvidia-smi numbers them: [0, 1]"),
    ] = "all"
    cpu_workers: Annotated[
        int, Field(ge=1, le=64, description="worker processes on the CPU where no GPU is used")
    ] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggingSettings:
    """The log files under OUT/.vrmatte/logs."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Field(description="lowest level that is written: debug, info, warning or error"),
    ] = "info"


def _address(text: str) -> str:
    address_of(text)
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifySettings:
    """Who is told that a run has ended, or that a video of it failed."""

    to: Annotated[
        tuple[Annotated[str, AfterValidator(_address)], ...],
        Field(description=f"list of addresses to post short messages to: {ADDRESS_FORMS}"),
    ] = ()
