"""Reads JSON of others: bounded in depth, without numbers that no float or person can hold."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

from pipeline.foreign.files import Unreadable, decoded, read_bytes

#: Nothing that is read is nested as deeply; Python's own limit depends on who asks.
MOST_DEPTH = 64

#: A whole number of more digits is no count, time or size; it could not even be shown.
MOST_DIGITS = 40

_LONG_NUMBER = re.compile(rf"[0-9]{{{MOST_DIGITS}}}")


def read_json(path: Path, most_bytes: int) -> Any:
    """The value in a file of JSON. Raises Unreadable."""
    return parse_json(read_bytes(path, most_bytes))


def parse_json(content: bytes | str, *, keys_once: bool = False, finite: bool = True) -> Any:
    """The value in a text of JSON.

    Args:
        keys_once: refuse objects that name a key twice; otherwise the last one counts.
        finite: refuse ``NaN``, ``Infinity``, and numbers that are too large for a float.

    Raises:
        Unreadable: it is no JSON, or beyond these bounds; with the line where it is known.
    """
    text = decoded(content) if isinstance(content, bytes) else content.removeprefix("\ufeff")
    long_numbers = _LONG_NUMBER.search(text) is not None
    try:
        value = json.loads(
            text,
            parse_constant=_no_number if finite else None,
            parse_float=_float if finite else None,
            parse_int=_int if long_numbers else None,
            object_pairs_hook=_with_keys_once if keys_once else None,
        )
    except json.JSONDecodeError as error:
        raise Unreadable(f"is not JSON: {error.msg}", "", error.lineno) from None
    except RecursionError:
        raise _too_deep() from None
    # Fewer brackets than that cannot be nested more deeply: most texts need no second look.
    if text.count("[") + text.count("{") > MOST_DEPTH and _deeper_than(value, MOST_DEPTH):
        raise _too_deep()
    return value


def _too_deep() -> Unreadable:
    return Unreadable("is nested too deeply", "is it the right file?")


def _no_number(name: str) -> float:
    raise Unreadable(f"holds {name}, which is no number of JSON")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise Unreadable(f"holds the number {text[:MOST_DIGITS]}, which is too large")
    return value


def _int(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise Unreadable(f"holds a number of {len(text)} digits, which is too large")
    return int(text)


def _with_keys_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        doubled = next(name for name in names if names.count(name) > 1)
        raise Unreadable(f"names {doubled!r} twice in one place", "keep one of the two")
    return found


def _deeper_than(value: Any, most: int) -> bool:
    level = [value]
    for _ in range(most):  # each step is one deeper
        level = [
            part
            for each in level
            if isinstance(each, dict | list)
            for part in (each.values() if isinstance(each, dict) else each)
            if isinstance(part, dict | list)
        ]
        if not level:
            return False
    return True
