"""The catalogue of matting models: one row a model, and nothing else lists them. Loads no torch.

Another package adds a model by an entry point of the group `vrmatte.models`: a `ModelFacts`, or a
bare factory, of which nothing else is known then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import cache
from typing import Any, TypeVar

from pipeline.contract import (
    NO_MODEL,
    OPTIONS_CLASS,
    EdgeSettings,
    MattingSettings,
    ModelOptions,
    VideoInfo,
    VideoSettings,
)
from pipeline.errors import SettingsError
from pipeline.plugins import Catalogue
from pipeline.stages.matting.chroma_facts import CHROMA
from pipeline.stages.matting.depth.facts import DEPTH
from pipeline.stages.matting.facts import ModelFacts, Weights
from pipeline.stages.matting.no_model import NONE
from pipeline.stages.matting.plate_facts import PLATE
from pipeline.stages.matting.rvm.facts import RVM
from pipeline.stages.matting.sam2.facts import SAM2, SAM2_RVM

Function = TypeVar("Function", bound=Callable[..., Any])


class _Models(Catalogue[ModelFacts]):
    def __getitem__(self, name: str) -> ModelFacts:
        """That of `NO_MODEL` as well, which is not among the names: it cuts nobody out."""
        return NONE if name == NO_MODEL else super().__getitem__(name)

    def adapted(self, name: str, registered: object) -> object:
        if not callable(registered):
            return registered
        return ModelFacts(
            name=name,
            load=registered,
            description="installed by another package",
            needs="what its package says",
            licence="that of its package",
        )


#: In place of a model's name: each video has the model that suits it. Where a job is made, one of
#: the `candidates` stands in its place.
AUTO = "auto"

#: Frames from one look at whole eyes to the next, where a model is given boxes.
LOOK_EVERY = 16

MODELS = _Models(
    "model",
    "vrmatte.models",
    ModelFacts,
    (RVM, SAM2, SAM2_RVM, CHROMA, PLATE, DEPTH),
    other_words=(AUTO, NO_MODEL),
)


def facts_of(matting: MattingSettings) -> ModelFacts:
    """The row of the model that is asked for. Raises SettingsError where it cannot be had."""
    return MODELS[matting.model]


def candidates(matting: MattingSettings) -> list[MattingSettings]:
    """The settings with each model that they may come to, which is one but for `auto`."""
    if matting.model != AUTO:
        return [matting]
    rows = [(row.automatic, row.name) for row in usable() if row.automatic is not None]
    return [replace(matting, model=name) for _, name in sorted(rows)]


@cache
def usable() -> tuple[ModelFacts, ...]:
    """All rows that can be had; `MODELS[name]` says why another cannot."""
    others = (MODELS.get(name) for name in MODELS.names() if name not in MODELS.built_in)
    return (*MODELS.built_in.values(), *filter(None, others))


def by_boxes(settings: VideoSettings) -> bool:
    """Whether the model is given boxes around subjects, of eyes that are large enough for it.

    Who says at which size the network shall see an eye, means the eye.
    """
    asked = settings.matting.region == "auto" and settings.processing.scale_factor is None
    return asked and any(facts_of(each).takes_boxes for each in candidates(settings.matting))


def function_of(row: ModelFacts, reference: str | Function) -> Function:
    """A function of a row, which may be named as ``module:attribute``. Raises SettingsError."""
    if isinstance(reference, str):
        found: Function = MODELS.load(row.name, reference)
        return found
    return reference


# -- models that take part -----------------------------------------------------------------------


def require_fit(matting: MattingSettings, info: VideoInfo) -> None:
    """Raises InputError: a video is not what the options of a model that takes part say."""
    for each in taking_part(matting):
        row = facts_of(each)
        if row.fits is not None:
            function_of(row, row.fits)(each, info)


def taking_part(matting: MattingSettings) -> list[MattingSettings]:
    """The settings for each model that may be used, and for its helpers, named by `model`.

    A helper that is asked for two things is there twice.
    """
    found = []
    for each in candidates(matting):
        helpers = _helpers(facts_of(each), each)
        found += [each, *(replace(each, model=name) for _, name in helpers)]
    return found


def weights_used(matting: MattingSettings) -> dict[str, Weights]:
    """Weights that the model and its helpers have from elsewhere, by name."""
    rows = map(facts_of, taking_part(matting))
    return {row.weights.name: row.weights for row in rows if row.weights is not None}


def without_weights(eyes: int = 2) -> str:
    """The models that fetch nothing and may suit a video of so many eyes, with what each is for."""
    rows = [row for row in usable() if row.weights is None and not row.helpers]
    fit = [row for row in rows if eyes > 1 or not row.two_eyes]
    return ", ".join(f"{row.name} ({row.description})" for row in fit)


def narrowed(matting: MattingSettings) -> MattingSettings:
    """The settings without all that no model looks at which takes part, for a job.

    So the options of another model change no fingerprint, and load no second model.
    """
    rows = [facts_of(each) for each in taking_part(matting)]
    kinds = dict.fromkeys(row.options for row in rows if row.options is not None)
    unsaid = MattingSettings()
    said = matting if rows[0].follows_prompts else unsaid
    boxes = matting if rows[0].takes_boxes else unsaid
    return replace(
        said,
        region=boxes.region,
        subject_pixels=boxes.subject_pixels,
        model=matting.model,
        edges=matting.edges,
        options=tuple(matting.of(kind) for kind in kinds),
    )


def _helpers(row: ModelFacts, matting: MattingSettings) -> Iterator[tuple[str, str]]:
    """Of each helper the setting that chooses it, without the group, and its name."""
    if row.options is not None:
        for field in row.helpers:
            yield f"{row.options.prefix}_{field}", getattr(matting.of(row.options), field)


def may_help(row: ModelFacts) -> bool:
    """Whether other models may ask it: it must know the subject by itself."""
    return not (row.follows_prompts or row.helpers)


def model_problems(matting: MattingSettings) -> Iterator[tuple[str, SettingsError]]:
    """What is wrong with the names of models, each with its setting in the group `matting`."""
    for each in candidates(matting):
        try:
            _require_reachable(facts_of(each))
        except SettingsError as error:
            yield "model", error
    for row in usable():
        for key, name in _helpers(row, matting):
            try:
                _require_helper(name)
            except SettingsError as error:
                yield key, SettingsError(f"matting.{key}: {error.message}", error.advice)


def _require_helper(name: str) -> None:
    if not may_help(MODELS[name]):
        advice = f"choose one of: {', '.join(helper_names())}"
        raise SettingsError(f"the model {name!r} helps no other", advice)


def helper_keys() -> list[str]:
    """Settings of the group `matting` that choose a helper, each once."""
    pairs = (_helpers(row, MattingSettings()) for row in usable())
    return [*dict.fromkeys(key for found in pairs for key, _ in found)]


def helper_keys_of(matting: MattingSettings) -> list[str]:
    """Those of the model that is asked for."""
    return [key for key, _ in _helpers(facts_of(matting), matting)]


def helper_names() -> list[str]:
    """Models that others may ask."""
    return [row.name for row in usable() if may_help(row)]


# -- options -------------------------------------------------------------------------------------


@cache
def option_classes() -> tuple[type[ModelOptions], ...]:
    """Options of all models, each class once, whose names in a settings file are their own."""
    taken = {each.name for each in (*fields(MattingSettings), *fields(EdgeSettings))}
    found: list[type[ModelOptions]] = []
    for row in usable():
        kind = row.options
        if kind is not None and kind not in found and taken.isdisjoint(kind.fields_by_key()):
            taken.update(kind.fields_by_key())
            found.append(kind)
    return tuple(found)


def _require_reachable(row: ModelFacts) -> None:
    if row.options is not None and row.options not in option_classes():
        raise SettingsError(
            f"the options of the model {row.name!r} have names that others have already"
            f" (matting.{row.options.prefix}_...)",
            "its package must choose another prefix",
        )


def _options_class(prefix: str) -> type[ModelOptions]:
    for kind in option_classes():
        if kind.prefix == prefix:
            return kind
    raise SettingsError(f"no model has options that begin with {prefix!r}")


#: What pydantic needs to read settings of jobs from JSON: `validate_json(text, context=...)`.
JSON_CONTEXT = {OPTIONS_CLASS: _options_class}
