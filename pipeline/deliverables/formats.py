"""The catalogue of output formats: one row a format. Nothing else lists them. Loads no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

from pipeline.deliverables.format import FixedRate, Format, Picture, RelativeSize, parted
from pipeline.deliverables.sound.plan import MOV_SOUND, MP4_SOUND, WEBM_SOUND
from pipeline.errors import InputError, SettingsError
from pipeline.plugins import Catalogue

if TYPE_CHECKING:  # see `pipeline.deliverables.format`
    from pipeline.contract import EncodingSettings, VideoInfo

#: Presets of x265 and SVT-AV1 that take more memory.
_SLOW = ("medium", "slow")

#: Pixels: players of alpha-packed fisheyes decode 8192x4096 at the most.
LARGEST_PACKED = 4096


# Encoders' memory is measured per pixel of 3840x1920 with 4 threads (`benchmarks/memory.py`): x264
# 105 to 162, ProRes 158; up to `fast`, then from `medium` on: x265 149, 179; with an alpha layer
# 250, 307; SVT-AV1 300, 486. VP9 with alpha takes 1.92 GB at 8192x4096
# (docs/benchmarks/005-8k-memory.md).


def _memory_by_codec(encoding: EncodingSettings) -> int:
    point = encoding.point()
    if encoding.codec == "av1":
        return 490 if point.av1_preset in _SLOW else 300
    return 180 if encoding.codec == "hevc" and point.hevc_preset in _SLOW else 165


def _bits_by_codec(encoding: EncodingSettings) -> int:
    """No player in a headset or a browser takes H.264 of 10 bits."""
    return 8 if encoding.codec == "h264" else 10


def _bits_of_greenscreen(encoding: EncodingSettings) -> int:
    """TorchCodec hands 8 bits to NVENC."""
    in_gpu = encoding.encoder == "nvenc" and encoding.nvenc_input == "gpu"
    return 8 if in_gpu else _bits_by_codec(encoding)


def _mastering_by_codec(encoding: EncodingSettings) -> bool:
    """ffmpeg's NVENC takes them from frames only, and planes in a pipe have none."""
    return encoding.encoder != "nvenc" and encoding.codec != "h264"


def _memory_of_two_layers(encoding: EncodingSettings) -> int:
    return 310 if encoding.point().hevc_preset in _SLOW else 250


def packed_picture(video: VideoInfo) -> Picture:
    """The alpha-packed fisheye of a video: two squares side by side, 4096 pixels high at the most.

    Their side is the larger side of an eye, even. A half-width picture has one such side only, and
    the middle of the picture, where people are, keeps its pixels. A half sphere becomes a fisheye
    of 180 degrees; a fisheye keeps its lens.

    Raises:
        InputError: the video has no two eyes, or is neither a fisheye nor a half sphere.
    """
    sees = {"flat": "what an ordinary lens sees", "equirect360": "all 360 degrees"}
    reason = None
    if video.eyes != 2:
        reason = f"it has one eye ({video.layout_reason})"
    elif video.projection in sees:
        reason = f"it holds {sees[video.projection]} ({video.projection_reason})"
    if reason is not None:
        raise InputError(
            f"an alpha-packed fisheye cannot be made of {video.path}: {reason}",
            "choose other formats for it, or say what it is with --layout and --projection",
        )
    height, width = video.even_height, video.even_width
    if video.layout == "sbs":
        width //= 2
    else:
        height //= 2
    side = min(max(height, width), LARGEST_PACKED)
    side += side % 2
    shows = "fisheye180" if video.projection == "equirect180" else video.projection
    return Picture(2 * side, side, "sbs", False, shows)


# Relative sizes are those of one subject in a 1280x640 demo clip, in bytes per pixel: VP9 with
# alpha 0.015, HEVC over green 0.011, its matte 0.008, HEVC with alpha 0.022, an alpha-packed
# fisheye 0.010, a stack of masks 0.039.

WEBM = Format(
    name="webm",
    factory="pipeline.deliverables.webm:WebM",
    description="VP9 with alpha",
    for_whom="for browsers, web pages and OBS",
    ending="_matte.webm",
    codec="vp9",
    encoder="VP9 (libvpx)",
    alpha="plane",
    sound=WEBM_SOUND,
    encoder_memory=lambda encoding: 60,
    size=RelativeSize(1.0),
    sidecar="alpha",
)

GREENSCREEN = Format(
    name="greenscreen",
    factory="pipeline.deliverables.greenscreen:GreenScreen",
    description="MP4 over one colour",
    for_whom="for players that key out a colour",
    ending="_matte_green.mp4",
    codec=None,
    alpha=None,
    sound=MP4_SOUND,
    encoder_memory=_memory_by_codec,
    size=RelativeSize(1.0),
    sidecar="green",
    bits=_bits_of_greenscreen,
    mastering=_mastering_by_codec,
    from_gpu=True,
)

ALPHAPACK = Format(
    name="alphapack",
    factory="pipeline.deliverables.alphapack:AlphaPack",
    description="fisheye with the matte in its corners, for headsets",
    for_whom="for DeoVR, HereSphere and other headset players",
    before_tags="_matte",  # players look for "alpha", a tag, at the very end
    ending=".mp4",
    codec=None,
    alpha="packed",
    sound=MP4_SOUND,
    encoder_memory=_memory_by_codec,
    size=RelativeSize(1.0),
    sidecar="alpha-packed",
    picture=packed_picture,
    bits=_bits_by_codec,
    mastering=_mastering_by_codec,
)

MATTE = Format(
    name="matte",
    factory="pipeline.deliverables.matte:Matte",
    description="alpha as grey MP4",
    for_whom="for compositing: the matte alone",
    ending="_matte_mask.mp4",
    codec=None,
    alpha="grey",
    sound=None,
    encoder_memory=_memory_by_codec,
    size=RelativeSize(0.5),
    sidecar="mask",
    bits=_bits_by_codec,
    needs=frozenset({"alpha"}),
)

PRORES = Format(
    name="prores",
    factory="pipeline.deliverables.prores:ProRes",
    description="4444 with alpha in MOV",
    for_whom="for editors",
    ending="_matte.mov",
    codec="prores",
    encoder="ProRes 4444",
    alpha="plane",
    sound=MOV_SOUND,
    encoder_memory=lambda encoding: 165,
    # The subject of the demo clip 0.37; test patterns all over 0.23; an empty picture 0.015.
    size=FixedRate(expected=0.4, least=0.01),
    sidecar="alpha",
    bits=lambda encoding: 10,
)

HEVC_ALPHA = Format(
    name="hevc-alpha",
    factory="pipeline.deliverables.hevc_alpha:HevcAlpha",
    description="HEVC with an alpha layer, for Apple's players",
    for_whom="for Safari, iPhones and other players of Apple's",
    ending="_matte_hevc.mp4",
    codec="hevc",
    encoder="HEVC with alpha (x265)",
    alpha="layer",
    sound=MP4_SOUND,
    encoder_memory=_memory_of_two_layers,
    size=RelativeSize(1.5),
    sidecar="alpha",
    bits=lambda encoding: 10,
    mastering=lambda encoding: True,
)

TIFF = Format(
    name="tiff",
    factory="pipeline.deliverables.tiff:Tiff",
    description="stack of masks",
    for_whom="for analysis: a mask for each frame",
    ending="_matte.tif",
    codec="deflate",
    encoder="TIFF, deflated",
    alpha="grey",
    sound=None,
    encoder_memory=lambda encoding: 5,  # a page at a time
    size=RelativeSize(3.0),
    sidecar=None,
    needs=frozenset({"alpha"}),
    read_back="pipeline.deliverables.tiff:read_back",
)


VIDEO = Format(
    name="video",
    factory="pipeline.deliverables.video:Video",
    description="opaque MP4 of the whole picture",
    for_whom="for every player: nothing is cut out",
    ending="_enhanced.mp4",
    codec=None,
    alpha=None,
    sound=MP4_SOUND,
    encoder_memory=_memory_by_codec,
    # A whole picture of a camera, against the VP9 matte of a subject in it.
    size=RelativeSize(4.0),
    sidecar="opaque",
    bits=_bits_by_codec,
    mastering=_mastering_by_codec,
    needs=frozenset({"rgb"}),
)


class FormatCatalogue(Catalogue[Format]):
    """The formats; by ``NAME.NUMBER`` also the row of a file that shows one object alone."""

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(parted(name)[0])

    def __getitem__(self, name: str) -> Format:
        row = super().__getitem__(parted(name)[0])
        return row if row.name == name else replace(row, name=name)


#: In the order in which they are listed.
FORMATS = FormatCatalogue(
    "format",
    "vrmatte.deliverables",
    Format,
    (WEBM, GREENSCREEN, ALPHAPACK, MATTE, PRORES, HEVC_ALPHA, TIFF, VIDEO),
)


def require_formats(names: Sequence[str]) -> None:
    """Raises SettingsError: one of them cannot be had, or two would have files of one name."""
    for name in names:
        if parted(name)[1] is not None:
            raise SettingsError(
                f"there is no format named {name!r}", "output.per_object makes files of objects"
            )
    rows = [FORMATS[name] for name in dict.fromkeys(names)]
    for one, other in combinations(rows, 2):
        if (one.before_tags, one.ending) == (other.before_tags, other.ending):
            raise SettingsError(
                f"files of the formats {one.name!r} and {other.name!r} have the same names",
                "choose one of the two",
            )
