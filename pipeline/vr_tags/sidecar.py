"""Sidecars: a small JSON file beside an output, for DeoVR and HereSphere.

One object serves both players: their formats share the fields `title` and `description`, in the
same meaning, and differ in the names of all others; both read the fields that they know. DeoVR has
`id`, `authorized`, `fullAccess`, `videoLength` (seconds), `is3d`, `screenType`, `stereoMode`,
`encodings` and `chromaKey`; HereSphere `access`, `duration` (milliseconds), `projection`, `stereo`,
`isEyeSwapped`, `fov`, `lens`, `media` and `alphaPackedSettings`.

Sources: what XBVR and stash-vr answer to these players (xbapps/xbvr pkg/api/deovr.go and
heresphere.go; o-fl0w/stash-vr internal/api); `chromaKey` as a site answers it (xbapps/xbvr issue
1303); `isEyeSwapped` from the HereSphere plugin of Stash. Not tried in a headset. What is known of
`chromaKey` is its names and kinds: that hue, saturation and value are 0..1, and which threshold
serves, is inferred. HereSphere's settings for a screen of one colour are not public, so there the
description names the colour; nor has DeoVR a field for swapped eyes: that is in the file's name.

HereSphere wants the header `HereSphere-JSON-Version: 1` in the answer of the server.
"""

from __future__ import annotations

import colorsys
import json
import re
import zlib
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from pipeline.contract import Layout, ProjectionName
from pipeline.text import printable

#: In every file, in the field of that name, which no player knows: by it we know our own.
GENERATOR = "vrmatte"

SidecarKind = Literal["alpha", "green", "alpha-packed", "mask", "opaque"]


@dataclass(frozen=True, slots=True)
class SidecarFacts:
    """What is said of an output.

    Attributes:
        file_name: of the output, without folders.
        title: for people; where it is empty, the file's name is shown.
        duration_s: of the picture.
        width, height: of the picture, both eyes together, in pixels.
        codec: FFmpeg's name.
        right_first: the right eye is the left (or upper) half.
        kind: how the background is taken away: by real alpha, by a screen of one colour, by a
            matte packed into the picture; "mask" is a matte alone.
        screen_color: ``#rrggbb`` of the screen where `kind` is "green", else None.
    """

    file_name: str
    title: str
    duration_s: float
    width: int
    height: int
    codec: str
    layout: Layout
    right_first: bool
    projection: ProjectionName
    kind: SidecarKind
    screen_color: str | None = None


def sidecar_json(facts: SidecarFacts, *, base_url: str = "") -> str:
    """The same text for the same facts: JSON without a byte that is not UTF-8, a newline last.

    Args:
        base_url: address of the folder. Without it the video's is relative to that of the JSON
            file; players' own documents show whole addresses only.

    Raises:
        ValueError: the kind is "green", and `screen_color` is no ``#rrggbb``.
    """
    key = _screen_hsv(facts) if facts.kind == "green" else None
    # Names that are no text keep their bytes in an address.
    name = facts.file_name.encode("utf-8", "surrogateescape")
    url = (f"{base_url.rstrip('/')}/" if base_url else "") + quote(name, safe="")
    sphere = _SPHERES[facts.projection]
    eye_height = facts.height // 2 if facts.layout == "tb" else facts.height
    codec = _CODEC_NAMES.get(facts.codec, facts.codec)
    source = {"height": facts.height, "width": facts.width, "url": url}
    # A dict, because it is JSON: the order of its fields is the order in the file.
    content: dict[str, Any] = {
        "title": printable(facts.title or facts.file_name),
        "generator": GENERATOR,
        "description": _DESCRIPTIONS[facts.kind].format(color=facts.screen_color),
        # DeoVR
        "id": zlib.crc32(name) & 0x7FFFFFFF,
        "authorized": "1",
        "fullAccess": True,
        "videoLength": round(facts.duration_s),
        "is3d": facts.layout != "mono",
        "screenType": sphere.screen_type,
        "stereoMode": "off" if facts.layout == "mono" else facts.layout,
        "encodings": [{"name": codec, "videoSources": [{"resolution": facts.height, **source}]}],
        # HereSphere
        "access": 1,
        "duration": round(facts.duration_s * 1000),
        "projection": sphere.projection,
        "stereo": facts.layout,
        "isEyeSwapped": facts.right_first and facts.layout != "mono",
        "media": [{"name": codec, "sources": [{"resolution": eye_height, **source}]}],
    }
    if sphere.degrees:
        content |= {"fov": float(sphere.degrees), "lens": sphere.lens}
    if facts.kind == "alpha-packed":
        # That the object is there turns it on; XBVR says of the field that it is no real setting.
        content["alphaPackedSettings"] = {"defaultSettings": True}
        content["chromaKey"] = _chroma_key(None)
    elif key:
        content["chromaKey"] = _chroma_key(key)
    return json.dumps(content, ensure_ascii=False, indent=2) + "\n"


@dataclass(frozen=True, slots=True)
class _Sphere:
    """A projection by the players' names: DeoVR's, then HereSphere's.

    Attributes:
        degrees: field of view; 0 where the projection says it.
        lens: HereSphere minds `fov` only where one is named.
    """

    screen_type: str
    projection: str
    degrees: int = 0
    lens: str = ""


_SPHERES: dict[ProjectionName, _Sphere] = {
    "flat": _Sphere("flat", "perspective"),
    "equirect180": _Sphere("dome", "equirectangular", 180, "Linear"),
    "equirect360": _Sphere("sphere", "equirectangular360"),
    "fisheye180": _Sphere("fisheye", "fisheye", 180, "Linear"),
    "fisheye190": _Sphere("fisheye190", "fisheye", 190, "Linear"),
    # As in the file's name (`tags_for`): the players know these fields of view by a lens only.
    "fisheye200": _Sphere("mkx200", "fisheye", 200, "MKX200"),
    "fisheye220": _Sphere("vrca220", "fisheye", 220, "VRCA220"),
}
_CODEC_NAMES = {"hevc": "h265"}
_DESCRIPTIONS: dict[SidecarKind, str] = {
    "alpha": "Background transparent.",
    "green": "Background {color}: set this colour to passthrough.",
    "alpha-packed": "Background with packed alpha: plays as it is, and as passthrough.",
    "mask": "Matte only: white is the foreground.",
    "opaque": "The whole picture.",
}
_THRESHOLD = 0.2


def _chroma_key(hsv: tuple[float, float, float] | None) -> dict[str, bool | float]:
    """DeoVR's settings: a colour to key by, or none where alpha is packed into the picture."""
    hue, saturation, value = hsv or (0.0, 0.0, 0.0)
    return {
        "enabled": hsv is not None,
        "hasAlpha": hsv is None,
        "h": round(hue, 4),
        "s": round(saturation, 4),
        "v": round(value, 4),
        "threshold": _THRESHOLD if hsv else 0.0,
        "opacity": 1.0,
    }


def _screen_hsv(facts: SidecarFacts) -> tuple[float, float, float]:
    color = facts.screen_color or ""
    if not re.fullmatch("#[0-9A-Fa-f]{6}", color):
        raise ValueError(f"screen_color must be #rrggbb, got {facts.screen_color!r}")
    red, green, blue = (int(color[k : k + 2], 16) / 255 for k in (1, 3, 5))
    return colorsys.rgb_to_hsv(red, green, blue)
