"""The JSON Schema for editors takes what the program takes, and refuses what it refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from orchestrator.cli import main
from orchestrator.settings.explained import default_text
from orchestrator.settings.keys import GROUPS, KEYS, descriptions
from orchestrator.settings.settings import Settings, as_mapping


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    shown = CliRunner().invoke(main, ["config", "schema"], prog_name="vrmatte")
    found: dict[str, Any] = json.loads(shown.output)
    Draft202012Validator.check_schema(found)
    return found


def problems(schema: dict[str, Any], text: str) -> list[str]:
    found = Draft202012Validator(schema).iter_errors(yaml.safe_load(text))
    return ["/".join(map(str, error.absolute_path)) for error in found]


@pytest.mark.parametrize(
    "text",
    [
        default_text(),
        yaml.safe_dump(as_mapping(Settings())),
        "",
        "streaming:\n",
        "preset: quest\n",
        "input: {deinterlace: off}\nprocessing: {cuda_graphs: off}\n",
        'overrides: [{match: "*green*", model: chroma}]\n',
        'overrides:\n- {match: "*", format: prores, dlc-parts: [nose], preset: fast}\n',
        'overrides:\n- match: "*"\n  matting: {model: sam2}\n  processing:\n'
        "    adaptive_scaling: {min_scale: 0.5}\n",
        "workers: {gpus: [0, 1]}\n",
        "overrides:\n",
    ],
)
def test_what_is_right(schema: dict[str, Any], text: str) -> None:
    assert problems(schema, text) == []


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("streamin: {}\n", ""),
        ("streaming: {lane: 1}\n", "streaming"),
        ("streaming: {lanes: 0}\n", "streaming"),
        ("streaming: {lanes: '3'}\n", "streaming"),
        ("matting: {rvm_variant: resnet}\n", "matting"),
        ("processing: {adaptive_scaling: {min: 1}}\n", "processing"),
        ("output: {formats: []}\n", "output"),
        ("preset: qwest\n", "preset"),
        ("overrides: {match: a}\n", "overrides"),
        ("overrides: [{model: rvm}]\n", "overrides"),
        ("overrides: [{match: a, lanes: 3}]\n", "overrides"),
        ("overrides: [{match: a, limits: {stall_s: 3}}]\n", "overrides"),
        ("overrides: [{match: a, streaming: {lanes: 3}}]\n", "overrides"),
        ("- a\n", ""),
    ],
)
def test_what_is_wrong(schema: dict[str, Any], text: str, where: str) -> None:
    assert problems(schema, text) == [where]


def test_every_setting_is_explained(schema: dict[str, Any]) -> None:
    for group, cls in GROUPS.items():
        properties = schema["$defs"][cls.__name__]["properties"]
        for key in KEYS[group]:
            assert properties[key]["description"] == descriptions(group)[key]
            assert "default" in properties[key]
