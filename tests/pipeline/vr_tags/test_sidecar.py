"""The file beside an output: one JSON object that DeoVR and HereSphere both read."""

from __future__ import annotations

import colorsys
import json
from dataclasses import replace
from typing import Any, get_args
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.contract import Layout, ProjectionName
from pipeline.vr_tags.sidecar import SidecarFacts, SidecarKind, sidecar_json

FACTS = SidecarFacts(
    file_name="A talk: \u00c6r\u00f8 #1 100%_LR_180.mp4",
    title="A talk",
    duration_s=61.25,
    width=7680,
    height=3840,
    codec="hevc",
    layout="sbs",
    right_first=False,
    projection="equirect180",
    kind="alpha",
)
COMMON = {
    "generator": str,
    **{"title": str, "description": str},
    **{"id": int, "authorized": str, "fullAccess": bool, "videoLength": int, "is3d": bool},
    **{"screenType": str, "stereoMode": str, "encodings": list},
    **{"access": int, "duration": int, "projection": str, "stereo": str, "isEyeSwapped": bool},
    **{"media": list, "fov": float, "lens": str},
}
ONLY: dict[SidecarKind, dict[str, type]] = {
    "alpha": {},
    "green": {"chromaKey": dict},
    "alpha-packed": {"chromaKey": dict, "alphaPackedSettings": dict},
    "mask": {},
    "opaque": {},
}


def read(facts: SidecarFacts, base_url: str = "") -> dict[str, Any]:
    text = sidecar_json(facts, base_url=base_url)
    assert text.endswith("}\n")
    content: dict[str, Any] = json.loads(text.encode())
    return content


def of_kind(kind: SidecarKind) -> SidecarFacts:
    return replace(FACTS, kind=kind, screen_color="#2BE640" if kind == "green" else None)


@pytest.mark.parametrize("kind", get_args(SidecarKind))
def test_the_fields_of_each_kind(kind: SidecarKind) -> None:
    content = read(of_kind(kind))
    assert {name: type(value) for name, value in content.items()} == COMMON | ONLY[kind]
    encoding, media = content["encodings"][0], content["media"][0]
    assert encoding["name"] == media["name"] == "h265"
    for source in (encoding["videoSources"][0], media["sources"][0]):
        assert source.pop("resolution") == 3840
        assert source == {"width": 7680, "height": 3840, "url": source["url"]}
    assert (content["videoLength"], content["duration"]) == (61, 61250)


def test_how_the_background_is_taken_away() -> None:
    key = read(of_kind("green"))["chromaKey"]
    assert (key["enabled"], key["hasAlpha"]) == (True, False)
    color = colorsys.hsv_to_rgb(key["h"], key["s"], key["v"])
    assert [round(255 * value) for value in color] == [0x2B, 0xE6, 0x40]
    assert "#2BE640" in read(of_kind("green"))["description"]
    packed = read(of_kind("alpha-packed"))
    assert (packed["chromaKey"]["enabled"], packed["chromaKey"]["hasAlpha"]) == (False, True)
    assert packed["alphaPackedSettings"] == {"defaultSettings": True}
    for color_text in (None, "", "green", "#2BE64", "#2BE6400"):
        with pytest.raises(ValueError, match="#rrggbb"):
            sidecar_json(replace(FACTS, kind="green", screen_color=color_text))


@pytest.mark.parametrize(
    ("projection", "screen", "sphere", "fov", "lens"),
    [
        ("flat", "flat", "perspective", None, None),
        ("equirect180", "dome", "equirectangular", 180, "Linear"),
        ("equirect360", "sphere", "equirectangular360", None, None),
        ("fisheye180", "fisheye", "fisheye", 180, "Linear"),
        ("fisheye190", "fisheye190", "fisheye", 190, "Linear"),
        ("fisheye200", "mkx200", "fisheye", 200, "MKX200"),
        ("fisheye220", "vrca220", "fisheye", 220, "VRCA220"),
    ],
)
def test_every_projection_by_the_players_names(
    projection: ProjectionName, screen: str, sphere: str, fov: int | None, lens: str | None
) -> None:
    content = read(replace(FACTS, projection=projection))
    assert (content["screenType"], content["projection"]) == (screen, sphere)
    assert (content.get("fov"), content.get("lens")) == (fov, lens)


@pytest.mark.parametrize("right_first", [False, True])
@pytest.mark.parametrize("layout", get_args(Layout))
def test_every_layout(layout: Layout, right_first: bool) -> None:
    content = read(replace(FACTS, layout=layout, right_first=right_first))
    assert content["is3d"] == (layout != "mono")
    assert content["stereoMode"] == ("off" if layout == "mono" else layout)
    assert content["stereo"] == layout
    assert content["isEyeSwapped"] == (right_first and layout != "mono")
    resolution = content["media"][0]["sources"][0]["resolution"]
    assert resolution == (1920 if layout == "tb" else 3840)


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)


RAW_NAMES = st.binary(min_size=1).filter(lambda name: name not in (b".", b".."))


@given(RAW_NAMES.map(lambda name: name.decode("utf-8", "surrogateescape")))
@example("\udcff#1?.mp4")
def test_an_address_leads_to_the_file_whatever_its_bytes(name: str) -> None:
    facts = replace(FACTS, file_name=name, title="")
    base = "https://example.test/videos"
    for base_url in ("", base, f"{base}/"):
        url = read(facts, base_url)["encodings"][0]["videoSources"][0]["url"]
        place = urljoin(f"{base}/a.json", url)
        assert place.startswith(f"{base}/")
        assert not urlsplit(place).query
        assert not urlsplit(place).fragment
        last = unquote_to_bytes(place.removeprefix(f"{base}/"))
        assert last == name.encode("utf-8", "surrogateescape")


@given(NAMES, NAMES, st.sampled_from(get_args(SidecarKind)))
def test_the_same_facts_give_the_same_text(name: str, title: str, kind: SidecarKind) -> None:
    facts = replace(of_kind(kind), file_name=name, title=title)
    text = sidecar_json(facts)
    assert text == sidecar_json(replace(facts))
    assert text.encode().decode() == text
    assert json.dumps(json.loads(text), ensure_ascii=False, indent=2) + "\n" == text
    shown = json.loads(text)["title"]
    assert len(shown) <= len(title)
    assert "\n" not in shown
