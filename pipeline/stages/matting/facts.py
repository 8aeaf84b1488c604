"""A row of the catalogue of models: what the rest of the program knows of a model. Loads no torch.

A model is a file or a folder that holds its code, and such a row beside it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

from pipeline.contract import MattingSettings, ModelOptions, ProcessingSettings, VideoInfo

if TYPE_CHECKING:
    import torch
    from torch import nn

    from pipeline.engines.engine import Example
    from pipeline.engines.keys import Buildable
    from pipeline.stages.matting.base import ClipSampler, MattingModel

MB = 1_000_000

#: Makes a model. Raises MachineError where weights or a device are missing, and SettingsError where
#: an option is wrong.
ModelFactory = Callable[[MattingSettings, ProcessingSettings, "torch.device"], "MattingModel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Code and weights that a model has from elsewhere. Models may share them.

    Attributes:
        name: what they are called in findings and records.
        choice: which ones the settings choose, in words; the gates are passed with these.
        fetch: ``module:attribute`` of ``(matting) -> list[Path]``, which fetches what is not there
            yet. Raises MachineError and SettingsError.
        missing: ``module:attribute`` of ``(matting) -> str | None``: what is not there, in words.
            It only looks, and loads no torch.
        settle: ``module:attribute`` of ``(matting) -> matting``, which decides between sources of
            the same model where several may serve; it may ask the network, and raises nothing.
        local: the file that the settings name instead, or None.
        unreachable: ``module:attribute`` of ``(matting, within_s) -> str | None``: why what is not
            there cannot be fetched, in words; None where some source answers within `within_s`
            seconds. It fetches nothing. None: it cannot be asked.
    """

    name: str
    choice: Callable[[MattingSettings], str]
    fetch: str | Callable[[MattingSettings], list[Path]]
    missing: str | Callable[[MattingSettings], str | None]
    settle: str | Callable[[MattingSettings], MattingSettings] | None = None
    local: Callable[[MattingSettings], str | None] = lambda matting: None
    unreachable: str | Callable[[MattingSettings, float], str | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelBytes:
    """Memory of a model in bytes, without its helpers.

    Attributes:
        another: what it adds to a worker that has a model loaded already.
        weights: what a worker holds for it beyond what is allowed for any model.
        segment: what each segment in flight takes to follow its subject, on the CPU.
    """

    another: int
    weights: int = 0
    segment: float = 0


#: Nothing is known of a model of another package: it may be as large as the largest of ours.
UNKNOWN = ModelBytes(another=934 * MB)


@dataclass(frozen=True, slots=True)
class Suits:
    """Whether a clip is for a model by what a few of its frames show.

    Attributes:
        why: what they show, in words, as "a green screen fills 62% of the sampled frames".
    """

    suits: bool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """One model.

    Attributes:
        load: ``module:attribute`` of its factory, or the factory.
        description: what it is for; one line of `vrmatte models list`.
        needs: what it needs beside the video, in words.
        licence: of its code, and of its weights where they have another.
        options: class of its options; models may share one.
        helpers: fields of the options that name another model, which it asks.
        weights: what it has from elsewhere.
        follows_prompts: it follows what a person says of the subject.
        has_scale: its network has a size of its own, as `processing.scale_factor` says.
        two_eyes: it compares the two eyes, and has nothing to go by in a video with one.
        takes_boxes: it can be given parts of an eye (`pipeline.stages.matting.base.BoxModel`).
        engines: what can run its network (`processing.engine`); with one there is no choice.
        buildable: ``module:attribute`` of ``(matting, processing, eye, device_kind)``, which gives
            the `pipeline.engines.keys.Buildable` of an engine that is built in the background, or
            why there is none, in words. It loads no torch. None: there is never one.
        parts: ``module:attribute`` of ``(matting, processing, eye, device)``, which makes the same
            network on its device, with the example that it is built for.
        memory: of the settings and the engine; see `ModelBytes`.
        slow_on_cpu: a frame takes seconds there: a trial takes few, and compares no devices.
        backdrop: of the drawn scene in which it is tried.
        automatic: its place among the models that `auto` chooses from, the least first; None: it is
            not one of them.
        suits: ``module:attribute`` of ``(matting, clip) -> Suits``, which `auto` asks before it
            tries the model; None: the trial alone decides.
        fits: ``module:attribute`` of ``(matting, info)``, which planning asks; it raises InputError
            where a video is not what the options say, and loads no torch; None: all are.
        most_error: mean difference to that scene's true alpha, of 1, that it must keep within;
            None: not known.
    """

    name: str
    load: str | ModelFactory
    description: str
    needs: str = "nothing"
    licence: str = "unknown"
    options: type[ModelOptions] | None = None
    helpers: tuple[str, ...] = ()
    weights: Weights | None = None
    follows_prompts: bool = False
    has_scale: bool = False
    two_eyes: bool = False
    takes_boxes: bool = False
    engines: frozenset[str] = frozenset({"torch"})
    buildable: str | Callable[..., Buildable | str] | None = None
    parts: str | Callable[..., tuple[nn.Module, Example]] | None = None
    memory: Callable[[MattingSettings, str], ModelBytes] = lambda matting, engine: UNKNOWN
    slow_on_cpu: bool = False
    backdrop: Literal["room", "green"] = "room"
    automatic: int | None = None
    suits: str | Callable[[MattingSettings, ClipSampler], Suits] | None = None
    fits: str | Callable[[MattingSettings, VideoInfo], None] | None = None
    most_error: float | None = None

    def __post_init__(self) -> None:
        """Raises ValueError where the options are none that a settings file can hold."""
        if self.options is not None:
            _require_options(self.options)
        known = () if self.options is None else self.options.fields_by_key().values()
        for helper in self.helpers:
            if helper not in known:
                raise ValueError(f"the helper {helper!r} is no field of the options")


def _require_options(kind: type[ModelOptions]) -> None:
    if not kind.prefix.isidentifier():
        raise ValueError(f"the prefix {kind.prefix!r} of {kind.__name__} is no identifier")
    try:
        default = kind()
        hash(default)
        json.dumps(dataclasses.asdict(default))
    except TypeError as error:
        raise ValueError(
            f"{kind.__name__} is no frozen dataclass of plain values with defaults: {error}"
        ) from error
    hints = get_type_hints(kind, include_extras=True)
    for name in kind.fields_by_key().values():
        if not option_description(hints[name]):
            raise ValueError(f"{kind.__name__}.{name} has no Field with a description")


def option_description(hint: Any) -> str:
    """What the hint of an option says of it: the description of its `pydantic.Field`."""
    return next(
        (
            item.description
            for item in getattr(hint, "__metadata__", ())
            if getattr(item, "description", None)
        ),
        "",
    )
