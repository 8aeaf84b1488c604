"""Fingerprints of settings: which settings decide pixels, and a short hash of those."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

#: Raised when the same settings begin to give other frames, so that old segments are not reused.
PIXEL_VERSION = 7

#: Metadata of a field that changes how the work is done but never what comes out.
NO_PIXELS = {"pixels": False}

#: Metadata of a field that changes nothing at its default: it then leaves the fingerprint as it was
#: before there was such a field, so that unfinished work goes on.
PIXELS_UNLESS_DEFAULT = {"pixels": "unless default"}


def same_pixels(counts_as: Mapping[str, str]) -> dict[str, Any]:
    """Metadata of a field some of whose values give the same frames as another one.

    Args:
        counts_as: those values, and which other one each counts as.
    """
    return {"counts_as": counts_as}


def pixel_fingerprint(settings: Any) -> str:
    """16 hexadecimal digits that say which pixels a dataclass of settings asks for."""
    text = json.dumps([PIXEL_VERSION, _pixel_fields(settings)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _pixel_fields(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_pixel_fields(each) for each in value]
    if not dataclasses.is_dataclass(value):
        return value
    return {
        f.name: _pixel_fields(_counted(f, getattr(value, f.name)))
        for f in dataclasses.fields(value)
        if _decides(f, getattr(value, f.name))
    }


def _counted(field: dataclasses.Field[Any], value: Any) -> Any:
    counts_as = field.metadata.get("counts_as")
    return value if counts_as is None else counts_as.get(value, value)


def _decides(field: dataclasses.Field[Any], value: Any) -> bool:
    kind = field.metadata.get("pixels", True)
    return value != field.default if kind == "unless default" else bool(kind)
