"""What is wrong with a value is said in a person's words, never in those of Python or JSON."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError
from pydantic.dataclasses import dataclass

from pipeline.contract import EdgeSettings
from pipeline.foreign.wrong_values import given as shown
from pipeline.foreign.wrong_values import wrong_value

#: Of pydantic, Python and JSON.
FOREIGN: tuple[str, ...] = (
    "None",
    "Input",
    "required",
    "valid",
    "array",
    "boolean",
    "integer",
    "an object",
)
FOREIGN += ("String", "Tuple", "dictionary", "instance", "argument", "Value error")


@dataclass
class _Inner:
    eye: Literal["left", "right"] = "left"
    at: tuple[float, int] = (0.0, 0)


class _Settings(BaseModel):
    """Of every kind that settings have."""

    text: str = ""
    pattern: Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$")] = "0" * 64
    whole: Annotated[int, Field(ge=1)] = 1
    number: Annotated[float, Field(le=5, allow_inf_nan=False)] = 1.0
    switch: bool = False
    names: Annotated[tuple[str, ...], Field(max_length=2)] = ()
    list_of: list[_Inner] = []
    inner: _Inner | None = None
    edges: EdgeSettings = EdgeSettings()


VALUES = st.recursive(
    st.sampled_from([None, True, 7, -0.5, "x", "3"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["eye", "at", "keep_out", "points", "choke"]), inner)
    ),
    max_leaves=6,
)


def problems(values: Any) -> list[Any]:
    try:
        _Settings.model_validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        return list(error.errors(include_url=False))
    return []


@given(st.sampled_from([*_Settings.model_fields]), VALUES)
def test_whatever_is_written_no_foreign_word_is_said(key: str, value: Any) -> None:
    for problem in problems({key: value}):
        said = f"{shown(problem['input'])}: {wrong_value(problem)}"
        assert not [word for word in FOREIGN if word in said], said
        assert wrong_value(problem).startswith(("it ", "there is no such key"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"text": None}, " is empty: it should be text"),
        ({"whole": 1.5}, " = 1.5: it should be a whole number"),
        ({"whole": True}, " = true: it should be a whole number"),
        ({"whole": 0}, " = 0: it should be greater than or equal to 1"),
        ({"switch": 3}, " = 3: it should be true or false"),
        ({"names": "x"}, " = 'x': it should be a list, as in [a, b]"),
        ({"pattern": "x"}, " = 'x': it should be 64 digits, each 0-9 or a-f"),
        ({"inner": 3}, " = 3: it should hold keys, as in {key: value}"),
        ({"edges": {"keep_out": [{"eye": None, "points": []}]}}, " is empty: it should be 'left'"),
        ({"edges": {"keep_out": [{"eye": "left"}]}}, ": it is missing"),
    ],
)
def test_what_is_wrong_is_said_plainly(values: Any, message: str) -> None:
    problem = problems(values)[0]
    assert f"{shown(problem['input'])}: {wrong_value(problem)}".startswith(message)
