"""Presets: named sets of settings, each for one use of the files.

A preset overrides the defaults; a settings file and the command line override the preset. No preset
holds a number: numbers belong to the settings, and are measured there.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Preset:
    """Its purpose, and its settings: group -> key -> value as in a settings file."""

    purpose: str
    values: Mapping[str, Mapping[str, Any]]


#: Nobody is cut out.
_WHOLE: Mapping[str, Mapping[str, Any]] = {
    "matting": {"model": "none"},
    "output": {"formats": ["video"]},
}

PRESETS: Mapping[str, Preset] = {
    "browser": Preset(
        "transparent WebM for browsers, OBS and web pages (the default)",
        {"output": {"formats": ["webm"]}},
    ),
    "quest": Preset(
        "alpha-packed fisheye for passthrough in headsets: DeoVR, HereSphere, 4XVR",
        {"output": {"formats": ["alphapack"]}},
    ),
    "greenscreen": Preset(
        "MP4 over plain green, for players that key a colour out (for videos that were shot before"
        " one: --model chroma)",
        {"output": {"formats": ["greenscreen"]}},
    ),
    "editor": Preset(
        "ProRes 4444 with straight alpha, for editors; large files",
        {"output": {"formats": ["prores"]}},
    ),
    "apple": Preset(
        "HEVC with alpha, for Safari, iOS, visionOS and Keynote",
        {"output": {"formats": ["hevc-alpha"]}},
    ),
    "theater_small": Preset(
        "the whole picture twice as large, each frame by itself: the fastest",
        {**_WHOLE, "enhance": {"scale": 2, "quality": "fast"}},
    ),
    "theater_medium": Preset(
        "the whole picture twice as large, calmed where its file needs it, steadied in time",
        {**_WHOLE, "enhance": {"scale": 2, "quality": "balanced"}},
    ),
    "theater_large": Preset(
        "the whole picture four times as large, steadied by two frames; slow",
        {**_WHOLE, "enhance": {"scale": 4, "quality": "best"}},
    ),
    "fast": Preset(
        "a first look: WebM, encoded fast and coarsely; the matte is the same",
        {"output": {"formats": ["webm"]}, "encoding": {"quality": "draft"}},
    ),
    "archive": Preset(
        "all that later work may need: ProRes 4444, and the matte as lossless TIFF; very large",
        {"output": {"formats": ["prores", "tiff"]}},
    ),
}


def preset_values(name: str, where: str = "") -> Mapping[str, Mapping[str, Any]]:
    """The settings of a preset.

    Args:
        where: the beginning of the error message, "FILE, line N: ".

    Raises:
        SettingsError: there is no preset of that name; it names the nearest.
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, 1)
        advice = f"did you mean {near[0]!r}?" if near else f"choose one of: {', '.join(PRESETS)}"
        raise SettingsError(f"{where}there is no preset {name!r}", advice)
    return PRESETS[name].values
