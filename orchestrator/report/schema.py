"""The JSON Schema of ``report.json``, made of the dataclasses that are written there.

``python -m orchestrator.report.schema`` prints it; `docs/report.schema.json` holds it.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from pydantic import TypeAdapter

from orchestrator.report.report import SCHEMA_VERSION, Report


def report_schema() -> dict[str, Any]:
    """As draft 2020-12 has it; every field is always there."""
    schema = TypeAdapter(Report).json_schema(mode="serialization")
    for part in (schema, *schema["$defs"].values()):
        about, described = _described(part.get("description", ""))
        part["description"] = about
        part["required"] = list(part["properties"])
        part["additionalProperties"] = False
        for name, field in part["properties"].items():
            for useless in ("title", "default"):
                field.pop(useless, None)
            if name in described:
                field["description"] = described[name]
    schema["properties"]["schema_version"] = {"const": SCHEMA_VERSION}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "report.json of vrmatte",
        **{key: value for key, value in schema.items() if key != "title"},
    }


def _described(docstring: str) -> tuple[str, dict[str, str]]:
    """What a docstring says of a class, and of its attributes by name."""
    about, _, attributes = docstring.partition("\n\nAttributes:\n")
    found: dict[str, str] = {}
    for entry in re.split(r"\n {4}(?=\S)", "\n" + attributes)[1:]:
        names, _, words = entry.partition(": ")
        found |= {name: " ".join(words.split()) for name in names.split(", ")}
    return " ".join(about.split()), found


def text() -> str:
    return json.dumps(report_schema(), indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
