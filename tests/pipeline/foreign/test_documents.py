"""JSON and YAML of others: a value within bounds, or a reason with its line."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.foreign.files import Unreadable, read_bytes, read_text
from pipeline.foreign.json_text import MOST_DEPTH, parse_json
from pipeline.foreign.yaml_text import Bounds, parse_yaml
from tests.texts import mutated

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
SOUND = b'{"a": [1, 2.5, {"b": null}], "c": "text", "d": -1e3}'


def reason(text: str | bytes, **options: Any) -> str:
    with pytest.raises(Unreadable) as caught:
        parse_json(text, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@given(VALUES)
@settings(max_examples=60)
def test_what_is_within_bounds_comes_back(value: Any) -> None:
    assert parse_json(json.dumps(value), keys_once=True) == value
    assert parse_json(b"\xef\xbb\xbf" + json.dumps(value).encode()) == value
    assert parse_yaml(yaml.safe_dump(value)) == yaml.safe_load(yaml.safe_dump(value))


@given(mutated(SOUND) | st.binary(max_size=60))
@example(b'{1.0e+308: [1, 2.5, {"b": null}], "c": "text", "d": -1e3}')
@settings(max_examples=150)
def test_whatever_the_bytes_it_is_a_value_or_a_reason(content: bytes) -> None:
    ways: list[Callable[[bytes], Any]] = [
        parse_json,
        lambda raw: parse_yaml(raw.decode("utf-8", "surrogateescape")),
    ]
    for parse in ways:
        try:
            value = parse(content)
        except Unreadable as error:
            assert len(error.why) <= 300  # noqa: PT017
        else:
            assert all(abs(number) < 10**41 for number in whole_numbers(value))


def whole_numbers(value: Any) -> Iterator[int]:
    """Those that have no bound of their own, as those with a fraction have."""
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list):
        for part in value:
            yield from whole_numbers(part)
    elif isinstance(value, int):
        yield value


def test_bounds_of_json() -> None:
    deep = "[" * MOST_DEPTH + "]" * MOST_DEPTH
    assert parse_json(deep)
    assert reason(f"[{deep}]") == "is nested too deeply"
    assert reason('{"a":' * 100_000) == "is nested too deeply"
    assert parse_json("[" + "[]," * 1000 + "[]]")
    assert reason("[1,\n2,\nx]") == "line 3 is not JSON: Expecting value"
    assert reason("NaN") == "holds NaN, which is no number of JSON"
    assert "which is too large" in reason("[-1e999]")
    assert "of 41 digits, which is too large" in reason("[" + "9" * 41 + "]")
    assert math.isinf(parse_json("1e999", finite=False))
    assert parse_json('{"a": 1, "a": 2}') == {"a": 2}
    assert "names 'a' twice" in reason('{"a": 1, "a": 2}', keys_once=True)
    assert reason(b'"\xff"') == "line 1 is not a text file in UTF-8"


def test_aliases_of_yaml_share_what_they_name_and_count_as_often() -> None:
    known = Bounds(aliases=True)
    assert parse_yaml("a: &x [1, 2]\nb: *x", known) == {"a": [1, 2], "b": [1, 2]}
    laughs = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    laughs += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    for text, why in (
        ("a: &x [*x]", r"names \*x, which is not there yet"),
        ("\n".join(laughs), "is too long: 1000000 values"),
    ):
        with pytest.raises(Unreadable, match=why):
            parse_yaml(text, known)


@pytest.mark.parametrize("name", ["\0", "a\0b", "x" * 5000, "none/a", "\ud800"])
def test_names_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(Unreadable, match="cannot be read"):
        read_bytes(tmp_path / name, 10)


def test_a_text_is_as_long_as_it_may_be_and_no_longer(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"\xef\xbb\xbf1234567890")
    assert read_text(path, 13) == "1234567890"
    with pytest.raises(Unreadable, match="is too long"):
        read_text(path, 12)
    path.write_bytes(b"\nb\xe9")
    with pytest.raises(Unreadable) as caught:
        read_text(path, 100)
    assert caught.value.line == 2
