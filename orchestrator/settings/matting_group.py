"""The group `matting` of a settings file: all models' options side by side, made of the catalogue.

A person writes `matting.rvm_variant` or `matting.choke`; the program has `MattingSettings` with an
object of each model's options, and one of what is corrected of the edge. pydantic checks the flat
form and makes the other of it, and writes it flat again.
"""

from __future__ import annotations

from dataclasses import field, fields, make_dataclass
from typing import Annotated, Any, TypeVar, get_type_hints

from pydantic import Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from pipeline.contract import EdgeSettings, MattingSettings, ModelOptions
from pipeline.stages.matting.catalogue import AUTO, MODELS, option_classes

_Object = TypeVar("_Object", EdgeSettings, ModelOptions)

#: Fields that are objects, whose members stand in the group.
_OBJECTS = ("edges", "options")


def _kinds() -> tuple[type[EdgeSettings] | type[ModelOptions], ...]:
    """Classes of the objects, in the order in which their members stand in the group."""
    return (EdgeSettings, *option_classes())


def _flat_class() -> type[Any]:
    """A dataclass of every key of the group, named and described as the settings of a job are."""
    common = get_type_hints(MattingSettings, include_extras=True)
    names = ", ".join(MODELS.built_in)
    common["model"] = Annotated[
        str,
        Field(
            description=f"{AUTO}: for each video the model that suits it; {names}, or one that is"
            " installed"
        ),
    ]
    members = [
        (each.name, common[each.name], field(default=each.default))
        for each in fields(MattingSettings)
        if each.name not in ("model", *_OBJECTS)
    ]
    members.insert(0, ("model", common["model"], field(default=AUTO)))
    for kind in _kinds():
        hints = get_type_hints(kind, include_extras=True)
        defaults = kind()
        members += [
            (key, hints[name], field(default=getattr(defaults, name)))
            for key, name in kind.fields_by_key().items()
        ]
    return make_dataclass(
        MattingSettings.__name__,
        members,
        frozen=True,
        slots=True,
        kw_only=True,
        namespace={"__doc__": "Which model cuts the subject out, its edge, options of each model."},
    )


#: The group as it is written.
MattingGroup = _flat_class()


def flattened(matting: MattingSettings) -> Any:
    """The settings as a `MattingGroup`."""
    common = {
        each.name: getattr(matting, each.name)
        for each in fields(matting)
        if each.name not in _OBJECTS
    }
    options = map(matting.of, option_classes())
    objects: tuple[EdgeSettings | ModelOptions, ...] = (matting.edges, *options)
    own = {
        key: getattr(each, name) for each in objects for key, name in each.fields_by_key().items()
    }
    return MattingGroup(**common, **own)


def gathered(group: Any) -> MattingSettings:
    """A `MattingGroup` as settings, with the options of every model."""
    common = {
        each.name: getattr(group, each.name)
        for each in fields(MattingSettings)
        if each.name not in _OBJECTS
    }
    edges = _object(EdgeSettings, group)
    options = tuple(_object(kind, group) for kind in option_classes())
    return MattingSettings(**common, edges=edges, options=options)


def _object(kind: type[_Object], group: Any) -> _Object:
    """The members of a group that are such an object's."""
    return kind(**{name: getattr(group, key) for key, name in kind.fields_by_key().items()})


#: With the options of every model, as read settings have them.
DEFAULT_MATTING = gathered(MattingGroup())


class Flat:
    """Annotation of a field of `MattingSettings` that is written as a `MattingGroup`."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        written = core_schema.no_info_after_validator_function(
            gathered, handler.generate_schema(MattingGroup)
        )
        return core_schema.json_or_python_schema(
            json_schema=written,
            python_schema=core_schema.no_info_before_validator_function(
                lambda given: flattened(given) if isinstance(given, MattingSettings) else given,
                written,
            ),
            serialization=core_schema.plain_serializer_function_ser_schema(
                flattened, return_schema=handler.generate_schema(MattingGroup)
            ),
        )
