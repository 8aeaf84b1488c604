"""The settings of a run that differ from the defaults, for people who read its report. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from orchestrator.settings.keys import GROUPS
from orchestrator.settings.settings import Settings, as_mapping, spelled_out
from pipeline.contract import EncodingSettings
from pipeline.text import printable

#: Characters of a value at the most; a list of hundreds of names helps nobody.
_LONGEST = 200

#: Name and password in an address.
_USER = re.compile(r"(?<=://)[^/@\s]*@")


def changed_settings(values: Mapping[str, Any]) -> dict[str, str]:
    """The settings that differ from the defaults, by ``group.key``, as text.

    Numbers that follow from the quality of the encoding are left out.

    Args:
        values: as `as_mapping` gives them; what is damaged, or another version's, is left out.
    """
    encoding = values.get("encoding")
    quality = encoding.get("quality") if isinstance(encoding, dict) else ""
    usual, by_quality = as_mapping(Settings()), _defaults(str(quality))
    found = {}
    for group in GROUPS:
        members = values.get(group)
        for key, value in members.items() if isinstance(members, dict) else ():
            if key not in usual[group]:
                continue
            same = value in (usual[group][key], by_quality[group][key])
            if not same or (key == "quality" and value != "balanced"):
                found[f"{group}.{key}"] = value_text(value)
    return found


def value_text(value: object) -> str:
    """A value for people, on one line, without names and passwords in addresses."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return without_passwords(printable(text, _LONGEST))


def without_passwords(text: str) -> str:
    """Text whose addresses name nobody: a report is sent to others."""
    return _USER.sub("", text)


@cache
def _defaults(quality: str) -> dict[str, dict[str, Any]]:
    """All defaults, with the numbers that a quality stands for."""
    known = EncodingSettings()
    if quality == "draft":
        known = replace(known, quality="draft")
    elif quality == "best":
        known = replace(known, quality="best")
    return as_mapping(spelled_out(Settings(encoding=known)))
