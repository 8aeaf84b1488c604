"""Write a settings file with every default explained, and a JSON Schema for editors."""

from __future__ import annotations

import textwrap
from typing import Any

import yaml

from orchestrator.settings.keys import GROUPS, KEYS, descriptions
from orchestrator.settings.option_keys import SHORT_KEYS
from orchestrator.settings.overrides import may_differ
from orchestrator.settings.presets import PRESETS
from orchestrator.settings.settings import Settings
from pipeline.deliverables.formats import FORMATS
from pipeline.stages.matting.catalogue import MODELS, helper_keys, helper_names

_PRESET = "named bundle of settings; values set here or on the command line override it; one of: "

_OVERRIDES = """\
# Other settings for some of the videos. `match` is compared with the file's name or, if it contains
# a slash, with the path below the input folder (** matches any folders). Case is ignored, and later
# entries override earlier ones. Below it stand groups as above, options of `vrmatte run` by their
# names, or a preset:
#   - match: "*green*"
#     model: chroma
#   - match: "interviews/**"
#     encoding: {quality: best}
overrides: []
"""


def default_text() -> str:
    """A settings file with every default, each explained."""
    out = [
        "# Settings of vrmatte. Every line shows its default; remove what you don't change.",
        "# `vrmatte config schema` prints a JSON Schema of it, for editors.",
        "",
    ]
    out += [*_comment(_PRESET + ", ".join(PRESETS), ""), "preset: null", ""]
    for group, cls in GROUPS.items():
        out += [f"# {_summary(cls)}", f"{group}:"]
        default = cls()
        for key in KEYS[group]:
            out += _comment(descriptions(group)[key], "  ")
            out.append(f"  {key}: {_yaml_value(getattr(default, key))}")
        out.append("")
    return "\n".join([*out, _OVERRIDES])


def config_schema() -> dict[str, Any]:
    """A JSON Schema (2020-12) of settings files.

    A file that it accepts may still be refused, because a model is not installed, say, or because
    settings contradict each other.
    """
    schema = Settings.model_json_schema()
    parts: dict[str, Any] = schema["$defs"]
    del parts["Override"]
    for part in parts.values():
        part["additionalProperties"] = False
    matting = parts["MattingSettings"]["properties"]
    matting["model"]["examples"] = MODELS.names()
    for key in helper_keys():
        matting[key]["enum"] = helper_names()
    formats = parts["OutputSettings"]["properties"]["formats"]
    formats["items"]["enum"] = FORMATS.names()
    formats["description"] = descriptions("output")["formats"]
    properties = {group: _group(cls.__name__, _summary(cls)) for group, cls in GROUPS.items()}
    presets = {"enum": [*PRESETS, None], "description": _PRESET + ", ".join(PRESETS)}
    match = {
        "type": "string",
        "minLength": 1,
        "description": "pattern of file names, or of paths below the input folder: *green*",
    }
    own: dict[str, Any] = {"match": match, "preset": presets | {"enum": list(PRESETS)}}
    for group, cls in GROUPS.items():
        members = parts[cls.__name__]["properties"]
        free = {key: members[key] for key in KEYS[group] if may_differ(group, key)}
        if free:
            name = f"{cls.__name__}OfSome"
            parts[name] = {"type": "object", "properties": free, "additionalProperties": False}
            own[group] = _group(name, _summary(cls))
    for short, (group, key) in SHORT_KEYS.items():
        if may_differ(group, key):
            own[short] = _or_one_name(parts[GROUPS[group].__name__]["properties"][key])
    override = {
        "type": "object",
        "properties": own,
        "required": ["match"],
        "additionalProperties": False,
    }
    properties["overrides"] = {
        "description": "other settings for the videos whose names match; later ones override"
        " earlier ones",
        "anyOf": [{"type": "array", "items": override}, {"type": "null"}],
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings of vrmatte",
        "type": ["object", "null"],
        "properties": {"preset": presets, **properties},
        "additionalProperties": False,
        "$defs": parts,
    }


def _group(name: str, description: str) -> dict[str, Any]:
    """A group, or nothing after its colon."""
    return {"description": description, "anyOf": [{"$ref": f"#/$defs/{name}"}, {"type": "null"}]}


def _or_one_name(member: dict[str, Any]) -> dict[str, Any]:
    """A list may be written as names with commas between them where it is given by its option."""
    if member.get("type") != "array":
        return member
    return {
        "description": member["description"],
        "anyOf": [{k: v for k, v in member.items() if k != "description"}, {"type": "string"}],
    }


def _summary(group: type[Any]) -> str:
    return str(group.__doc__).splitlines()[0]


def _comment(text: str, indent: str) -> list[str]:
    begin = f"{indent}# "
    return textwrap.wrap(text, 98 - len(indent), initial_indent=begin, subsequent_indent=begin)


def _yaml_value(value: Any) -> str:
    plain = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(plain, default_flow_style=True, width=1000)
    return text.removesuffix("...\n").strip()
