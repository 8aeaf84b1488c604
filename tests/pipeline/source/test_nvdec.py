"""NVDEC's way of a frame, by doubles: its surfaces, its failures, and what it loses.

Surfaces are made of a CPU decoder's planes as NVDEC lays them out (deeper samples at the top of 16
bits, chroma interleaved, rows padded). Texts of errors are TorchCodec's and PyTorch's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.contract import ColorTags, VideoInfo
from pipeline.encode.ffmpeg_pipe import ffmpeg_command, run_ffmpeg
from pipeline.errors import DecodeError, DeviceError, ResourceError, VrmatteError
from pipeline.source import decode
from pipeline.source.decode import FrameReader
from pipeline.source.raw_frames import machines_fault, raw_frames
from pipeline.source.timing.frame_index import FrameIndex
from pipeline.source.video_info import read_video
from tests.render import CPU

FRAMES = 6
#: Of a file's pixel format: what the surface is called, and how many zeros its samples end in.
SURFACES = {
    "yuv420p": ("nv12", 0),
    "yuv420p10le": ("p010le", 6),
    "yuv420p12le": ("p012le", 4),
    "yuv444p10le": ("yuv444p16le", 6),
}
DEPTHS = {"nv12": 8, "p010le": 10, "p012le": 12, "p016le": 16, "yuv444p16le": 16}


@dataclass(frozen=True, slots=True)
class Surface:
    pts_seconds: float
    pixel_format: str
    bit_depth: int
    width: int
    height: int
    planes: tuple[Tensor, ...]
    rotation: float = 0.0


def surface(raw: Any, name: str, zeros: int) -> Surface:
    y, u, v = ((plane.int() << zeros).to(plane.dtype) for plane in raw.planes[:3])
    height, width = y.shape
    padded = torch.full((height, width + 32), 7, dtype=y.dtype)  # NVDEC's rows have a pitch
    padded[:, :width] = y
    planes = (padded[:, :width], u, v)
    if not name.startswith("yuv"):
        both = torch.stack([u, v], dim=-1)
        planes = (padded[:, :width], both[..., 0], both[..., 1])
    return Surface(raw.pts_seconds, name, DEPTHS[name], width, height, planes)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], VideoInfo]:
    """Lossless noise of 64x720 (untagged, that is BT.709) by its pixel format; with its index."""
    folder, made = tmp_path_factory.mktemp("nvdec"), dict[str, VideoInfo]()

    def of(pixel_format: str) -> VideoInfo:
        if pixel_format not in made:
            path = folder / f"{pixel_format}.mkv"
            source = "color=0xa07040:s=64x720:r=10,noise=alls=60:allf=t"

            run_ffmpeg(
                ffmpeg_command(
                    *("-f", "lavfi", "-i", source, "-frames:v", str(FRAMES)),
                    *("-c:v", "ffv1", "-pix_fmt", pixel_format, str(path)),
                )
            )
            made[pixel_format] = read_video(path, path.with_suffix(".json"), None)
        return made[pixel_format]

    return of


def reader_of(video: VideoInfo) -> FrameReader:
    index = FrameIndex.load(Path(video.path).with_suffix(".json"))
    return FrameReader(video, index, CPU, fine=True)


def by_nvdec(
    monkeypatch: pytest.MonkeyPatch,
    video: VideoInfo,
    change: Callable[[int, Surface], Surface | None] = lambda number, frame: frame,
) -> FrameReader:
    """A reader whose decoder is NVDEC's double; `change` may alter or lose a frame."""
    name, zeros = SURFACES[video.pixel_format]

    def surfaces(demuxer: Any, decoder: Any, skipped: int = 0) -> Iterator[Surface]:
        for number, raw in enumerate(raw_frames(demuxer, decoder, skipped)):
            if (changed := change(number, surface(raw, name, zeros))) is not None:
                yield changed

    monkeypatch.setattr(decode, "raw_frames", surfaces)
    reader = reader_of(video)
    reader.decoder = "NVDEC"
    return reader


@pytest.mark.parametrize("full_range", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("pixel_format", SURFACES)
def test_surfaces_give_the_bits_of_the_cpus_planes_whatever_the_tags(
    pixel_format: str,
    full_range: bool,
    files: Callable[[str], VideoInfo],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []
    matrices = ["unspecified", "bt709", "smpte170m"]
    if pixel_format == "yuv420p10le":
        matrices += ["bt2020nc", "smpte240m", "fcc", "ycgco"]
    for matrix in matrices:
        tagged = replace(files(pixel_format), color=ColorTags(matrix, full_range=full_range))
        (expected,) = reader_of(tagged).batches(2, 3, 1)
        with monkeypatch.context() as patched:
            (found,) = by_nvdec(patched, tagged).batches(2, 3, 1)
        assert torch.equal(found.rgb, expected.rgb), matrix
        assert found.fine is not None
        assert expected.fine is not None
        assert torch.equal(found.fine, expected.fine), matrix
        seen.append(found.rgb)
    assert torch.equal(seen[0], seen[1]), "untagged 720 lines are BT.709"
    assert not torch.equal(seen[0], seen[2])


def test_a_12_bit_surface_has_another_name_by_an_old_ffmpeg(
    files: Callable[[str], VideoInfo], monkeypatch: pytest.MonkeyPatch
) -> None:
    video = replace(files("yuv420p12le"), color=ColorTags("bt709", full_range=True))
    (expected,) = reader_of(video).batches(0, 2, 2)
    monkeypatch.setitem(SURFACES, "yuv420p12le", ("p016le", 4))
    (found,) = by_nvdec(monkeypatch, video).batches(0, 2, 2)
    assert torch.equal(found.rgb, expected.rgb)


@pytest.mark.parametrize("lost", [0, 3, FRAMES - 1])
def test_a_frame_that_nvdec_loses_is_never_concealed(
    lost: int, files: Callable[[str], VideoInfo], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`receive_frame` gives AVERROR_EXTERNAL where a surface cannot be mapped, and no word."""
    reader = by_nvdec(
        monkeypatch, files("yuv420p"), lambda number, frame: None if number == lost else frame
    )
    with pytest.raises(DecodeError, match=rf"gave no frame {lost}"):
        list(reader.batches(0, FRAMES, 2))
    assert reader.concealed_frames == []


@pytest.mark.parametrize(
    ("began", "then"),
    [("yuv420p10le", "p012le"), ("yuv420p12le", "p010le"), ("yuv420p", "yuv444p")],
)
def test_another_depth_or_chroma_on_the_way_goes_to_the_cpu(
    began: str, then: str, files: Callable[[str], VideoInfo], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = by_nvdec(
        monkeypatch,
        files(began),
        lambda number, frame: replace(frame, pixel_format=then) if number >= 4 else frame,
    )
    with pytest.raises(DecodeError, match=f"pixel format on the way: .* {then} of {began}"):
        list(reader.batches(0, FRAMES, 1))


ALLOCATION = (
    "CUDA out of memory. Tried to allocate 96.00 MiB. GPU 0 has a total capacity of 5.79 GiB of "
    'which 41.31 MiB is free. (originally from torch_call_dispatcher( "aten::empty", '
    '"memory_format", stack.data(), TORCH_ABI_VERSION) API call failed at '
    "/usr/include/torch/csrc/stable/ops.h, line 90)"
)
REJECTED = (
    "CUDA out of memory. Allocation was preemptively rejected because it would exceed "
    "per_process_memory_fraction limit. Requested size: 100663296"
)
PLACE = "/__w/torchcodec/torchcodec/src/torchcodec/_core/BetaCudaDeviceInterface.cpp:193, "
FAULTS: list[tuple[str, type[VrmatteError] | None]] = [
    (ALLOCATION, ResourceError),
    (REJECTED, ResourceError),
    ("CUDA error: out of memory\nCUDA kernel errors might be asynchronously", ResourceError),
    (f"create_decoder, {PLACE}Failed to create NVDEC decoder: 2", ResourceError),
    (f"initialize_video_decoding, {PLACE}Failed to create video parser: 2", ResourceError),
    (f"copy_nvdec_surface, {PLACE}Failed to copy NVDEC surface: out of memory", ResourceError),
    ("CUDA error: an illegal memory access was encountered\nCUDA kernel errors", DeviceError),
    (
        f"copy_nvdec_surface, {PLACE}Failed to copy NVDEC surface: an illegal memory access was "
        "encountered",
        DeviceError,
    ),
    (f"unmap_previous_frame, {PLACE}Failed to unmap previous frame: 700", DeviceError),
    # The file's, as far as anybody can tell: the CPU's decoder has the last word.
    (f"create_decoder, {PLACE}Failed to create NVDEC decoder: 201", None),
    ("Failed to send packet to decoder (status -542398533)", None),
    ("Could not push packet to decoder: Invalid data found when processing input", None),
]


class Refusing:
    """Demuxer and decoder of one packet, which the decoder answers with an error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __iter__(self) -> Iterator[str]:
        return iter(["packet"])

    def decode(self, packet: str) -> list[Any]:
        raise self._error

    def drain(self) -> list[Any]:
        return []


@pytest.mark.parametrize(("text", "kind"), FAULTS, ids=[text[-40:] for text, _ in FAULTS])
def test_what_the_gpu_lacks_is_no_damage_of_the_file(
    text: str, kind: type[VrmatteError] | None
) -> None:
    double: Any = Refusing(RuntimeError(text))
    if kind is None:
        assert list(raw_frames(double, double)) == []
        assert machines_fault(RuntimeError(text), "decode") is None
        return
    with pytest.raises(kind) as caught:
        list(raw_frames(double, double))
    assert PLACE not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.advice


def test_nor_is_it_where_a_decoder_is_opened(
    files: Callable[[str], VideoInfo], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = reader_of(files("yuv420p"))

    def refuse(*arguments: Any, **named: Any) -> Any:
        raise RuntimeError(ALLOCATION)

    monkeypatch.setattr("pipeline.torchcodec_import.decoders.Demuxer", refuse)
    with pytest.raises(ResourceError, match="had no memory to open"):
        reader.picture(0)


@pytest.mark.parametrize("pixel_format", ["yuv422p10le", "gray"])
def test_what_no_surface_holds_is_decoded_by_the_cpu(
    pixel_format: str, files: Callable[[str], VideoInfo]
) -> None:
    video = replace(files("yuv420p"), pixel_format=pixel_format)
    index = FrameIndex.load(Path(video.path).with_suffix(".json"))
    assert FrameReader(video, index, torch.device("cuda")).decoder.startswith("CPU: the ")
