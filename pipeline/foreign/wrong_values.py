"""Says in plain words what is wrong with a value of a person's, of what pydantic says of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

#: By pydantic's names of errors (https://docs.pydantic.dev/latest/errors/validation_errors/),
#: where its own words are those of Python or JSON.
_WORDS = {
    "missing": "it is missing",
    "missing_argument": "it is missing",
    "missing_keyword_only_argument": "it is missing",
    "missing_positional_only_argument": "it is missing",
    "extra_forbidden": "there is no such key",
    "unexpected_keyword_argument": "there is no such key",
    "string_type": "it should be text",
    "bool_type": "it should be true or false",
    "bool_parsing": "it should be true or false",
    "int_type": "it should be a whole number",
    "int_parsing": "it should be a whole number",
    "int_from_float": "it should be a whole number",
    "float_type": "it should be a number",
    "float_parsing": "it should be a number",
    "none_required": "it should be left out",
    "list_type": "it should be a list, as in [a, b]",
    "tuple_type": "it should be a list, as in [a, b]",
    "dict_type": "it should hold keys, as in {key: value}",
    "model_type": "it should hold keys, as in {key: value}",
    "model_attributes_type": "it should hold keys, as in {key: value}",
    "dataclass_type": "it should hold keys, as in {key: value}",
    "dataclass_exact_type": "it should hold keys, as in {key: value}",
}

_SHA256 = "^[0-9a-fA-F]{64}$"


def wrong_value(problem: Mapping[str, Any]) -> str:
    """A sentence about the value without its subject.

    Args:
        problem: one of `pydantic.ValidationError.errors`.
    """
    kind = problem["type"]
    if kind in _WORDS:
        return _WORDS[kind]
    if kind == "string_pattern_mismatch":
        pattern = problem["ctx"]["pattern"]
        shown = "64 digits, each 0-9 or a-f" if pattern == _SHA256 else f"text like {pattern}"
        return f"it should be {shown}"
    what = problem["msg"].removeprefix("Value error, ").replace(" after validation", "")
    return re.sub("^(Input|Tuple|List|String|Value|Dictionary) should", "it should", what)


def given(value: object) -> str:
    """`` = VALUE`` as a person wrote it; nothing where it is no single value."""
    if value is None:
        return " is empty"
    if isinstance(value, bool):
        return f" = {str(value).lower()}"
    return f" = {value!r}"[:60] if isinstance(value, str | int | float) else ""
