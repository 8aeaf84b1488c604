"""Tags are put into files as ffmpeg joins them, and read back by FFmpeg; nothing else moves."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import get_args

import av
import pytest

from pipeline.contract import Layout, ProjectionName
from pipeline.encode.ffmpeg_pipe import ffmpeg_command, run_ffmpeg
from pipeline.errors import EncodeError
from pipeline.vr_tags.in_files import (
    PLACEHOLDER_BYTES,
    FoundTags,
    SphericalTags,
    TagContainer,
    placeholder_options,
    readable,
    tags_of_frame,
    write_tags,
)
from pipeline.vr_tags.mp4_header import stored_stereo_mode
from tests.finished import digests
from tests.pipeline.hostile import box
from tests.pipeline.mutations import mutants

EYES: list[tuple[Layout, bool]] = [
    ("mono", False),
    ("sbs", False),
    ("sbs", True),
    ("tb", False),
    ("tb", True),
]
PROJECTIONS: tuple[ProjectionName, ...] = get_args(ProjectionName)
POSE = (12.5, -30.25, 3 / 65536)
TAGS = [SphericalTags(*eyes, name) for eyes, name in product(EYES, PROJECTIONS)]
TAGS += [SphericalTags(*eyes, "equirect180", POSE) for eyes in EYES]
VR180 = SphericalTags("sbs", False, "equirect180")
TITLE = "A talk: Ærø"
QUARTER = b"\x40\0\0\0"

X265 = ("-c:v", "libx265", "-x265-params", "log-level=none:pools=1", "-tag:v", "hvc1")
VP9 = ("-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p", "-deadline", "realtime", "-cpu-used", "8")
TITLED = ("-metadata", f"title={TITLE}")
#: (container, options) by name.
CLIPS: dict[str, tuple[TagContainer, tuple[str, ...]]] = {
    "hevc.mp4": ("mp4", (*X265, "-c:a", "aac", *TITLED)),
    "h264.mp4": ("mp4", ("-c:v", "libx264", "-c:a", "aac", *TITLED)),
    "av1.mp4": ("mp4", ("-c:v", "libsvtav1", "-svtav1-params", "lp=1", "-c:a", "aac", *TITLED)),
    "prores.mov": ("mov", ("-c:v", "prores_ks", "-c:a", "pcm_s24le", *TITLED)),
    "untitled.mp4": ("mp4", ("-c:v", "libx264", "-c:a", "aac")),
    "untitled.mov": ("mov", ("-c:v", "prores_ks", "-c:a", "aac")),
    **{
        f"{layout}-{right_first}.webm": ("webm", (*VP9, "-c:a", "libopus", *TITLED))
        for layout, right_first in EYES
    },
}


@dataclass(frozen=True)
class Clip:
    """A file with a placeholder, and its content."""

    path: Path
    container: TagContainer
    content: bytes

    def tagged(self, folder: Path, tags: SphericalTags) -> Path:
        path = folder / self.path.name
        path.write_bytes(self.content)
        write_tags(path, self.container, tags)
        return path

    def tags(self) -> list[SphericalTags]:
        """Those it can be given: a WebM was written for one way of the eyes."""
        if self.container != "webm":
            return TAGS
        layout, right_first = self.path.stem.split("-")
        eyes = (layout, right_first == "True")
        return [tags for tags in TAGS if (tags.stereo, tags.right_first) == eyes]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Clip]:
    """All of them by one process; three frames of 64x64 and a tone."""
    folder = tmp_path_factory.mktemp("clips")
    inputs = ("-f", "lavfi", "-i", "testsrc2=s=64x64:r=25", "-f", "lavfi", "-i", "sine=r=48000")
    outputs: list[str] = []
    for name, (container, options) in CLIPS.items():
        tags = VR180
        if container == "webm":
            tags = next(tags for tags in TAGS if name == f"{tags.stereo}-{tags.right_first}.webm")
        outputs += ["-map", "0:v", "-map", "1:a", "-t", "0.12", *options, "-fflags", "+bitexact"]
        outputs += [*placeholder_options(container, tags), "-map_metadata", "-1"]
        outputs += ["-movflags", "+faststart"] if container != "webm" else []
        outputs += ["-f", container, f"file:{folder / name}"]
    run_ffmpeg(ffmpeg_command(*inputs, *outputs))
    return {
        name: Clip(folder / name, container, (folder / name).read_bytes())
        for name, (container, _) in CLIPS.items()
    }


@pytest.fixture(params=CLIPS)
def clip(request: pytest.FixtureRequest, clips: dict[str, Clip]) -> Clip:
    return clips[request.param]


def read(path: Path) -> FoundTags:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frame = next(container.decode(stream))
        return tags_of_frame(frame.side_data, stream.metadata)


def header(container: TagContainer, content: bytes) -> tuple[int, int]:
    """(begin, end) of the content of `moov` or of the picture's TrackEntry."""
    if container != "webm":
        at = 0
        while content[at + 4 : at + 8] != b"moov":
            at += int.from_bytes(content[at : at + 4], "big")
        return at + 8, at + int.from_bytes(content[at : at + 4], "big")
    at = content.index(b"\xae\x01", content.index(b"\x16\x54\xae\x6b"))
    size = int.from_bytes(content[at + 2 : at + 9], "big")
    return at + 9, at + 9 + size


def packets(path: Path) -> list[tuple[int, int | None, str]]:
    """(stream, time, digest) of every packet."""
    with av.open(str(path)) as container:
        return [
            (p.stream_index, p.pts, hashlib.sha256(bytes(p)).hexdigest())
            for p in container.demux()
            if p.size
        ]


def expected(container: TagContainer, tags: SphericalTags) -> FoundTags:
    projection = tags.projection if tags.projection.startswith("equirect") else None
    said = container == "webm" or (tags.stereo, projection) != ("mono", None)
    if not said or (container != "webm" and tags.right_first):  # see `stored_stereo_mode`
        return FoundTags(None, None, projection, tags.pose)
    return FoundTags(tags.stereo, tags.right_first, projection, tags.pose)


def test_what_is_written_is_read_back(clip: Clip, tmp_path: Path) -> None:
    for tags in clip.tags():
        path = clip.tagged(tmp_path, tags)
        assert read(path) == expected(clip.container, tags) == readable(clip.container, tags)
        if clip.container != "webm":
            said = {("sbs", False): 2, ("sbs", True): 4, ("tb", False): 1, ("tb", True): None}
            round_eye = tags.projection.startswith("equirect")
            mode = said.get((tags.stereo, tags.right_first), 0 if round_eye else None)
            assert stored_stereo_mode(path, 1) == mode


def test_nothing_but_the_header_changes_and_that_keeps_its_size(clip: Clip, tmp_path: Path) -> None:
    begin, end = header(clip.container, clip.content)
    for tags in clip.tags():
        new = clip.tagged(tmp_path, tags).read_bytes()
        assert len(new) == len(clip.content)
        assert new[:begin] == clip.content[:begin]
        assert new[end:] == clip.content[end:]


def test_pictures_sound_and_title_stay_and_the_placeholder_goes(clip: Clip, tmp_path: Path) -> None:
    frames, coded = digests(clip.path), packets(clip.path)
    assert len(frames) == 3
    assert {stream for stream, *_ in coded} == {0, 1}
    for tags in {clip.tags()[0], clip.tags()[1], clip.tags()[-1]}:
        path = clip.tagged(tmp_path, tags)
        assert digests(path) == frames
        assert packets(path) == coded
        assert b"room for" not in path.read_bytes()
        with av.open(str(path)) as container:
            title = None if "untitled" in path.name else TITLE
            assert container.metadata.get("title") == title
            assert "comment" not in container.metadata
            assert "title" not in container.streams.video[0].metadata


def test_the_boxes_are_those_of_the_rfc(clips: dict[str, Clip], tmp_path: Path) -> None:
    def full(kind: bytes, content: bytes) -> bytes:
        return box(kind, bytes(4) + content)

    bounds = bytes(8) + QUARTER + QUARTER  # top, bottom, left, right
    projection = box(b"proj", full(b"prhd", bytes(12)) + full(b"equi", bounds))
    sphere = box(b"sv3d", full(b"svhd", b"vrmatte\0") + projection)
    tags = full(b"st3d", b"\x02") + sphere
    for name, before in (("hevc.mp4", b"hvcC"), ("h264.mp4", b"avcC"), ("av1.mp4", b"av1C")):
        new = clips[name].tagged(tmp_path, VR180).read_bytes()
        assert new.count(tags) == 1
        configuration = new.index(before) - 4
        size = int.from_bytes(new[configuration : configuration + 4], "big")
        assert new.index(tags) == configuration + size
    new = clips["prores.mov"].tagged(tmp_path, VR180).read_bytes()
    assert new[new.index(tags) + len(tags) :][4:8] in (b"fiel", b"colr", b"pasp")


def test_the_element_is_that_of_matroska(clips: dict[str, Clip], tmp_path: Path) -> None:
    bounds = bytes(4) + bytes(8) + QUARTER + QUARTER
    private = b"\x76\x72" + bytes([0x80 | 20]) + bounds
    projection = b"\x76\x70" + bytes([0x80 | 27]) + b"\x76\x71\x81\x01" + private
    new = clips["sbs-False.webm"].tagged(tmp_path, VR180).read_bytes()
    assert new.count(projection) == 1
    # What is left of the room is void: one element, up to the end of the entry.
    end = header("webm", new)[1]
    left = len(PLACEHOLDER_BYTES.to_bytes(2, "big")) + 2 + PLACEHOLDER_BYTES - len(projection)
    assert new[end - left : end] == bytes([0xEC, 0x80 | left - 2]) + bytes(left - 2)


def test_boxes_with_nothing_left_in_them_go(clips: dict[str, Clip], tmp_path: Path) -> None:
    for name in ("untitled.mp4", "untitled.mov"):
        begin, end = header("mp4", clips[name].content)
        assert b"udta" in clips[name].content[begin:end]
        assert b"udta" not in clips[name].tagged(tmp_path, VR180).read_bytes()[begin:end]


def test_pictures_of_more_than_4_gb_have_a_longer_header(
    clips: dict[str, Clip], tmp_path: Path
) -> None:
    content = bytearray(clips["h264.mp4"].content)
    at = content.index(b"mdat") - 4
    assert content[at - 8 : at] == box(b"free", b"")  # ffmpeg's room for that header
    size = int.from_bytes(content[at : at + 4], "big") + 8
    content[at - 8 : at + 8] = struct.pack(">I4sQ", 1, b"mdat", size)
    path = Clip(Path("large.mp4"), "mp4", bytes(content)).tagged(tmp_path, VR180)
    assert read(path) == FoundTags("sbs", False, "equirect180")


def refused(path: Path, container: TagContainer, tags: SphericalTags, why: str) -> None:
    """With its reason in one line that names the file, and without a byte changed."""
    before = path.read_bytes()
    with pytest.raises(EncodeError, match=why) as caught:
        write_tags(path, container, tags)
    assert str(caught.value).startswith(f"{path.name} cannot be tagged: ")
    assert len(str(caught.value).splitlines()) == 1
    assert path.read_bytes() == before


def test_a_file_is_tagged_once(clip: Clip, tmp_path: Path) -> None:
    tags = clip.tags()[1]
    refused(clip.tagged(tmp_path, tags), clip.container, tags, "holds no placeholder")


def test_another_stereo_mode_is_noticed(clips: dict[str, Clip], tmp_path: Path) -> None:
    path = tmp_path / "wrong.webm"
    path.write_bytes(clips["sbs-False.webm"].content)
    right_first = SphericalTags("sbs", True, "equirect180")
    refused(path, "webm", right_first, "its stereo mode is 1 instead of 11")


@pytest.mark.parametrize("name", ["hevc.mp4", "prores.mov", "sbs-False.webm"])
def test_a_file_that_is_cut_off_is_refused(
    name: str, clips: dict[str, Clip], tmp_path: Path
) -> None:
    clip = clips[name]
    path = tmp_path / name
    for length in (0, 3, 9, 40, 200, len(clip.content) // 2, len(clip.content) - 1):
        path.write_bytes(clip.content[:length])
        refused(path, clip.container, VR180, "it has no|is no|impossible size")


@pytest.mark.parametrize("name", ["hevc.mp4", "prores.mov", "sbs-False.webm"])
def test_damage_is_refused_or_does_no_harm(
    name: str, clips: dict[str, Clip], tmp_path: Path
) -> None:
    clip = clips[name]
    path = tmp_path / name
    taken = 0
    for what, content in mutants(clip.content, seed=180, rounds=8):
        path.write_bytes(content)
        try:
            write_tags(path, clip.container, VR180)
        except EncodeError:
            assert path.read_bytes() == content, what
            continue
        taken += 1
        assert path.stat().st_size == len(content), what
    assert taken > 0


def test_lies_about_sizes_cost_nothing(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    ftyp = box(b"ftyp", b"isom" + bytes(4))
    lies = {
        "larger than any table": ftyp + struct.pack(">I4s", 1 << 30, b"moov"),
        "more than 1000 boxes": ftyp + box(b"free", b"") * 2000,
        "impossible size": ftyp + struct.pack(">I4sQ", 1, b"mdat", 0),
    }
    for why, content in lies.items():
        with path.open("wb") as file:
            file.write(content)
            file.truncate(1 << 32)
        with pytest.raises(EncodeError, match=why):
            write_tags(path, "mp4", VR180)
        assert stored_stereo_mode(path, 1) is None
    ebml = b"\x1a\x45\xdf\xa3\x80"
    lies = {
        "larger than any": ebml
        + b"\x18\x53\x80\x67\x08\xff\xff\xff\x00\x16\x54\xae\x6b\x1f\xff\xff\x00",
        "before its pictures": ebml + b"\x18\x53\x80\x67\x08\xff\xff\xff\x00" + b"\xec\x80" * 2000,
        "impossible size": ebml + b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff",
    }
    for why, content in lies.items():
        with path.open("wb") as file:
            file.write(content)
            file.truncate(1 << 32)
        with pytest.raises(EncodeError, match=why):
            write_tags(path, "webm", VR180)


def stereo3d(kind: int, flags: int = 0, view: int = 0, degrees: int = 0) -> bytes:
    return struct.pack("=4iI4i", kind, flags, view, 0, 0, 0, 1, degrees * 1000, 1000)


def sphere(
    kind: int, left: float = 0, top: float = 0, right: float = 0, bottom: float = 0
) -> bytes:
    bounds = [min(round(share * 2**32), 2**32 - 1) for share in (left, top, right, bottom)]
    return struct.pack("=4i5I", kind, 0, 0, 0, *bounds, 0)


@pytest.mark.parametrize(
    ("data", "layout", "right_first"),
    [
        (stereo3d(0), "mono", False),
        (stereo3d(1), "sbs", False),
        (stereo3d(1, flags=1), "sbs", True),
        (stereo3d(2), "tb", False),
        (stereo3d(2, flags=1), "tb", True),
        (stereo3d(1)[:-1], None, None),
        (b"", None, None),
    ],
)
def test_the_eyes_as_ffmpeg_tells(
    data: bytes, layout: Layout | None, right_first: bool | None
) -> None:
    assert tags_of_frame({"STEREO3D": data}, {}) == FoundTags(layout, right_first, None)


@pytest.mark.parametrize(
    ("data", "mode", "found"),
    [
        (stereo3d(1, view=1), "", FoundTags("mono", False, eye="left")),
        (stereo3d(8, view=2), "", FoundTags("mono", False, eye="right")),
        (stereo3d(0), "right_2", FoundTags("mono", False, eye="right")),
        (stereo3d(0), "left_right", FoundTags("mono", False)),
        (stereo3d(8, view=3), "", FoundTags()),
        (stereo3d(8), "", FoundTags(mixed="layers")),
        (stereo3d(3), "", FoundTags(mixed="in frames by turns")),
        (stereo3d(5), "", FoundTags(mixed="side by side in a quincunx")),
        (stereo3d(3), "block_lr", FoundTags(mixed="layers")),
        (b"", "anaglyph_cyan_red", FoundTags(mixed="in colours (an anaglyph)")),
    ],
)
def test_eyes_that_share_no_picture_as_ffmpeg_tells(
    data: bytes, mode: str, found: FoundTags
) -> None:
    assert tags_of_frame({"STEREO3D": data}, {"stereo_mode": mode}) == found


@pytest.mark.parametrize(
    ("data", "degrees", "projection"),
    [
        (sphere(0), 0, "equirect360"),
        (sphere(1), 0, None),  # a cube
        (sphere(2, left=0.25, right=0.25), 0, "equirect180"),
        (sphere(2, left=0x3FFFFFFF / 2**32, right=0x3FFFFFFF / 2**32), 0, "equirect180"),
        (sphere(2, left=0.5), 0, None),  # half of it, but not the half before the eye
        (sphere(2, left=0.25, right=0.25, top=0.2, bottom=0.2), 0, None),
        (sphere(2, left=0.1, right=0.1), 0, None),
        (sphere(2, left=2**-32), 0, "equirect360"),
        (sphere(3), 0, "equirect180"),
        (sphere(4), 0, "flat"),
        (sphere(5), 0, None),
        (sphere(5), 190, "fisheye190"),
        (sphere(5), 170, None),
        (sphere(6), 0, None),
        (sphere(99), 0, None),
        (sphere(0) + bytes(20), 0, None),
        (b"", 0, None),
    ],
)
def test_the_projection_as_ffmpeg_tells(
    data: bytes, degrees: int, projection: ProjectionName | None
) -> None:
    found = tags_of_frame({"STEREO3D": stereo3d(0, degrees=degrees), "SPHERICAL": data}, {})
    assert (found.layout, found.right_first, found.projection) == ("mono", False, projection)


def test_the_pose_and_the_part_of_a_sphere_as_ffmpeg_tells() -> None:
    found = tags_of_frame({"SPHERICAL": sphere(2, left=0.3, right=0.25, top=0.125)}, {})
    assert found.bounds is not None
    edges = (found.bounds.left, found.bounds.right, found.bounds.top, found.bounds.bottom)
    assert edges == pytest.approx((0.3, 0.25, 0.125, 0), abs=1e-9)
    assert tags_of_frame({"SPHERICAL": sphere(2, left=0.25, right=0.25)}, {}).bounds is None
    assert tags_of_frame({"SPHERICAL": sphere(2, left=0.6, right=0.6)}, {}).bounds is None
    turned = struct.pack("=4i5I", 0, 655360, -65536, 1, 0, 0, 0, 0, 0)
    assert tags_of_frame({"SPHERICAL": turned}, {}).pose == (10, -1, 1 / 65536)


def test_matroska_tells_the_eyes_of_a_stream_as_well() -> None:
    assert tags_of_frame({}, {"STEREO_MODE": "bottom_top"}) == FoundTags("tb", True, None)
    both = tags_of_frame({"STEREO3D": stereo3d(1)}, {"stereo_mode": "top_bottom"})
    assert both == FoundTags("sbs", False, None)
    assert tags_of_frame({}, {}) == FoundTags()
