"""Which model cuts the subject out, how prompts reach it, each model's options, the edge.

A model's options are a class of its own, beside the model. In a settings file they stand under
`matting`, each with the prefix of its class: `RvmOptions.variant` is `matting.rvm_variant`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import Field, PlainSerializer, PlainValidator, TypeAdapter, ValidationInfo

from pipeline.contract.edges import AS_MATTED, EdgeSettings
from pipeline.contract.fingerprint import NO_PIXELS, PIXELS_UNLESS_DEFAULT


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """Base of the options of a model: a frozen dataclass of plain values, each with a default.

    Attributes:
        prefix: begins the name of each option in a settings file.
    """

    prefix: ClassVar[str] = ""

    @classmethod
    def fields_by_key(cls) -> dict[str, str]:
        """The field of each option, by the option's name in a settings file."""
        return {f"{cls.prefix}_{each.name}": each.name for each in fields(cls)}


Options = TypeVar("Options", bound=ModelOptions)

#: Key of pydantic's validation context: finds an options class by its prefix.
OPTIONS_CLASS = "options_class"


def _read_options(given: Any, info: ValidationInfo) -> tuple[ModelOptions, ...]:
    if not isinstance(given, Mapping):
        return tuple(given)
    find: Callable[[str], type[ModelOptions]] | None = (info.context or {}).get(OPTIONS_CLASS)
    if find is None:
        raise ValueError("options in JSON need the context `catalogue.JSON_CONTEXT`")
    return tuple(
        TypeAdapter(find(prefix)).validate_python(values) for prefix, values in given.items()
    )


def _write_options(options: tuple[ModelOptions, ...]) -> dict[str, Any]:
    return {each.prefix: TypeAdapter(type(each)).dump_python(each, mode="json") for each in options}


#: In place of a model's name: nobody is cut out.
NO_MODEL = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class MattingSettings:
    """Which model cuts the subject out, its options, and what is corrected of its matte.

    Attributes:
        edges: written beside the other settings of the group, without a name of their own.
        options: of several models, one object each; a class that is missing has its defaults.
    """

    model: Annotated[str, Field(description="name of the model")] = "rvm"
    region: Annotated[
        Literal["auto", "whole"],
        Field(
            description="what rvm's network sees; auto: boxes around the people, at their own"
            " size, in eyes of more than 512 pixels where processing sets no size; whole: the whole"
            " eye, small"
        ),
    ] = "auto"
    subject_pixels: Annotated[
        int,
        Field(
            ge=256,
            le=1024,
            description="rvm by boxes: it sees a person at most that tall, in pixels",
        ),
    ] = 384
    # The content of prompts is in `VideoSettings.prompts_sha256`, whatever their files are called.
    prompts: Annotated[
        str | None,
        Field(
            description="what tells sam2 who the subject is: a file for all videos, or a folder of"
            " files named STEM.prompts.yaml; null: such a file beside the video, if there is one"
        ),
    ] = field(default=None, metadata=NO_PIXELS)
    dlc_csv: Annotated[
        str | None,
        Field(description="the same from a table of DeepLabCut's; overrides other prompts"),
    ] = field(default=None, metadata=NO_PIXELS)
    dlc_bodyparts: Annotated[
        tuple[str, ...],
        Field(description="body parts that are taken from the table; []: all of every animal"),
    ] = field(default=(), metadata=NO_PIXELS)
    dlc_likelihood: Annotated[
        float,
        Field(ge=0, le=1, description="body parts less likely than this, 0 to 1, are left out"),
    ] = field(default=0.6, metadata=NO_PIXELS)
    continuous_correction: Annotated[
        bool,
        Field(description="sam2: the seed model points the subject out again inside a segment"),
    ] = False
    correction_interval: Annotated[
        int, Field(ge=1, description="frames from one correction to the next, by it or by dlc_csv")
    ] = 120
    edges: EdgeSettings = field(default=AS_MATTED, metadata=PIXELS_UNLESS_DEFAULT)
    options: Annotated[
        tuple[ModelOptions, ...], PlainValidator(_read_options), PlainSerializer(_write_options)
    ] = ()

    def of(self, kind: type[Options]) -> Options:
        """The options of that class."""
        return next((each for each in self.options if isinstance(each, kind)), kind())

    def with_options(self, changed: ModelOptions) -> MattingSettings:
        """The same settings with these options in place of others of their class."""
        kinds = [type(each) for each in self.options]
        if type(changed) not in kinds:
            return replace(self, options=(*self.options, changed))
        at = kinds.index(type(changed))
        return replace(self, options=(*self.options[:at], changed, *self.options[at + 1 :]))
