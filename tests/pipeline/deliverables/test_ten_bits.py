"""Ten bits of a source reach every format that holds them; the others are as they were."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipeline.contract import EncodingSettings, FinishJob, SegmentJob, VideoInfo, VideoSettings
from pipeline.deliverables.alpha_layer import first_rgba_frames
from pipeline.deliverables.base import make_deliverable
from pipeline.deliverables.kept import losses, needs_fine
from pipeline.encode.ffmpeg_pipe import ffmpeg_command, run_ffmpeg
from pipeline.finish import finish_video
from pipeline.pixels.batches import EyeBatch, MatteBatch
from pipeline.pixels.planes import frame_planes
from pipeline.segment import run_segment
from pipeline.source.decode import FrameReader
from pipeline.source.timing.frame_index import FrameIndex
from pipeline.source.video_info import read_video
from pipeline.stages.matting.base import ClipSampler, Prepared
from pipeline.verify.readback import sampled_frames
from tests.chains import chain_around
from tests.made_once import MadeOnce
from tests.render import CPU

LEVELS, HEIGHT = 1024, 64
STEP = 1 / 1023
#: Rows of the upper half are the subject's, all of them; below alpha rises from left to right.
OPAQUE = slice(4, HEIGHT // 2 - 4)
RAMP = slice(HEIGHT // 2 + 4, HEIGHT - 4)


@dataclass
class Halves:
    """See `pipeline.stages.matting.base.MattingModel`."""

    colours: bool
    name: ClassVar[str] = "halves"
    warmup_frames: int = 0

    def prepare(self, clip: ClipSampler) -> Prepared:
        return {}

    def start(self, eyes: int, height: int, width: int, prepared: Prepared) -> None:
        return None

    def matte(self, eyes: EyeBatch, state: Any) -> MatteBatch:
        assert eyes.fine is None, "models are given 8 bits, whatever formats are made"
        frames, views, _, height, width = eyes.rgb.shape
        alpha = torch.linspace(0, 1, width).expand(frames, views, 1, height, width).clone()
        alpha[..., : height // 2, :] = 1
        own = eyes.rgb.float().div(255) if self.colours else None
        return MatteBatch(alpha, own, eyes.start)


def gradient(made_once: MadeOnce, bits: int, pixels: str = "yuv420p") -> Path:
    """Grey that rises by one of 1024 levels a column, or by one of 256 every four."""

    def make(folder: Path) -> None:
        kind = np.dtype("<u2" if bits == 10 else "u1")
        levels = np.arange(LEVELS) >> (10 - bits)
        luma = np.broadcast_to(levels, (HEIGHT, LEVELS)).astype(kind).tobytes()
        grey = np.full(LEVELS * HEIGHT // 2, 2 ** (bits - 1), kind).tobytes()
        planes = 3 * luma if pixels == "gbrp" else luma + grey
        raw = folder / "raw"
        raw.write_bytes(3 * planes)
        name = pixels + ("10le" if bits == 10 else "")
        tags = ("-color_range", "pc", "-colorspace", "rgb" if pixels == "gbrp" else "bt709")
        run_ffmpeg(
            ffmpeg_command(
                *("-f", "rawvideo", "-pix_fmt", name, "-video_size", f"{LEVELS}x{HEIGHT}", *tags),
                *("-i", str(raw), "-c:v", "ffv1", *tags, str(folder / "gradient.mkv")),
            )
        )

    return made_once("gradients", (bits, pixels), make) / "gradient.mkv"


def made(
    source: Path, folder: Path, formats: tuple[str, ...], codec: str = "hevc", colours: bool = True
) -> tuple[VideoInfo, dict[str, Path]]:
    """The finished files by format."""
    index = folder / "index.json"
    packed = formats == ("alphapack",)
    view = ("sbs", "equirect180") if packed else ("mono", None)
    video = read_video(source, index, *view)
    encoding = EncodingSettings(
        codec=codec,  # type: ignore[arg-type]
        encoder="software",
        hevc_crf=4,
        hevc_preset="ultrafast",
        av1_crf=4,
        av1_preset="veryfast",
        h264_crf=4,
    )
    settings = VideoSettings(deliverables=formats, encoding=encoding)
    chain = chain_around(Halves(colours), settings)
    jobs = [SegmentJob(video, settings, n, n, 2 * n + 1, str(index), str(folder)) for n in (0, 1)]
    jobs[1] = replace(jobs[1], stop=3)
    parts = tuple(run_segment(job, chain, CPU) for job in jobs)
    names = {n: folder / f"out-{n}{make_deliverable(n, video, settings).suffix}" for n in formats}
    finish_video(FinishJob(video, settings, parts, tuple(map(str, names.values())), str(folder)))
    return video, names


def shown(path: Path, of_alpha: bool = False) -> list[NDArray[np.float64]]:
    """Planes of the last frame as they are in the file."""
    if of_alpha:
        frame: Any = list(first_rgba_frames(path, 3))[-1]
    else:
        ((_, frame),) = sampled_frames(path, {2})
    return [plane.numpy().astype(np.float64) for plane in frame_planes(frame)]


def require_gradient(luma: NDArray[np.float64]) -> None:
    """10-bit luma of limited range shows what full range said, by more than 8 bits."""
    assert len(np.unique(luma)) > 800
    said = np.arange(LEVELS) * STEP
    assert np.abs((luma - 64) / 876 - said).mean() < 1.5 * STEP
    assert np.abs((luma - 64) / 876 - said).max() < 4 * STEP


@pytest.mark.parametrize("colours", [False, True], ids=["picture", "foreground"])
@pytest.mark.parametrize("pixels", ["yuv420p", "gbrp"])
def test_prores(made_once: MadeOnce, tmp_path: Path, pixels: str, colours: bool) -> None:
    _, files = made(gradient(made_once, 10, pixels), tmp_path, ("prores",), colours=colours)
    y, _, _, alpha = shown(files["prores"])
    bits = av.VideoFormat("yuva444p12le").components[0].bits  # as FFmpeg's decoder gives them
    deep = 2 ** (bits - 10) if y.max() > 1023 else 1
    require_gradient(y[OPAQUE] / deep)
    assert len(np.unique(np.floor(alpha[RAMP] / deep))) > 800


@pytest.mark.parametrize("codec", ["hevc", "av1"])
def test_greenscreen_and_its_matte(made_once: MadeOnce, tmp_path: Path, codec: str) -> None:
    source = gradient(made_once, 10)
    video, files = made(source, tmp_path, ("greenscreen", "matte"), codec)
    require_gradient(shown(files["greenscreen"])[0][OPAQUE])
    alpha = (shown(files["matte"])[0][RAMP] - 64) / 876
    assert len(np.unique(alpha)) > 800
    assert np.abs(alpha - np.linspace(0, 1, LEVELS)).mean() < 1.5 * STEP
    settings = VideoSettings(deliverables=("greenscreen", "matte"))
    assert list(losses(video, settings)) == []


def test_hevc_with_alpha(made_once: MadeOnce, tmp_path: Path) -> None:
    _, files = made(gradient(made_once, 10), tmp_path, ("hevc-alpha",))
    y, _, _, alpha = shown(files["hevc-alpha"], of_alpha=True)
    require_gradient(y[OPAQUE])
    assert len(np.unique(alpha[RAMP])) > 800


@pytest.mark.slow
def test_the_middle_of_an_alpha_packed_fisheye(made_once: MadeOnce, tmp_path: Path) -> None:
    """There a fisheye of 180 degrees has the columns of a half sphere."""
    _, files = made(gradient(made_once, 10), tmp_path, ("alphapack",))
    luma = shown(files["alphapack"])[0]
    assert luma.shape == (512, 1024)
    middle = (luma[254:258] - 64) / 876
    inside = slice(128, 896)
    assert len(np.unique(middle[:, inside])) > 500
    off = np.abs(middle - np.arange(LEVELS) * STEP)
    assert off[:, 128:384].mean() < 1.5 * STEP
    assert off[:, 640:896].mean() < 1.5 * STEP


@pytest.mark.slow
def test_formats_of_8_bits_do_not_change_with_their_neighbours(
    made_once: MadeOnce, tmp_path: Path
) -> None:
    """A film is the same alone, and beside a format that wants ten bits; a note says its bits."""
    source = gradient(made_once, 10)
    folders = [tmp_path / name for name in ("alone", "beside")]
    for folder in folders:
        folder.mkdir()
    video, alone = made(source, folders[0], ("webm",))
    _, beside = made(source, folders[1], ("webm", "prores"))
    assert alone["webm"].read_bytes() == beside["webm"].read_bytes()
    settings = VideoSettings(deliverables=("webm", "prores"))
    assert not needs_fine(video, replace(settings, deliverables=("webm", "matte", "tiff")))
    assert needs_fine(video, settings)
    assert list(losses(video, settings)) == ["the source's 10 bits are delivered as 8 in webm"]
    h264 = EncodingSettings(codec="h264")
    deep = replace(video, bit_depth=12)
    several = ("webm", "greenscreen", "alphapack", "matte", "prores")
    assert list(losses(deep, replace(settings, deliverables=several, encoding=h264))) == [
        "the source's 12 bits are delivered as 8 in webm, greenscreen and alphapack",
        "the source's 12 bits are delivered as 10 in prores",
    ]


def test_a_source_of_8_bits_is_delivered_in_8(made_once: MadeOnce, tmp_path: Path) -> None:
    video, files = made(gradient(made_once, 8), tmp_path, ("greenscreen",))
    ((_, frame),) = sampled_frames(files["greenscreen"], {0})
    assert frame.format.name == "yuv420p"
    assert not needs_fine(video, VideoSettings(deliverables=("prores", "greenscreen")))


@pytest.mark.parametrize("pixels", ["yuv420p10le", "gbrp10le"])
def test_turned_pictures_with_an_odd_side(tmp_path: Path, pixels: str) -> None:
    """The first row of an upright picture is the last column of the stored one."""
    stored, path = tmp_path / "stored.mkv", tmp_path / "turned.mkv"
    ramp = f"color=black:size=96x65:rate=25,format={pixels}"
    run_ffmpeg(
        ffmpeg_command(
            *("-f", "lavfi", "-i", f"{ramp},noise=alls=30:all_seed=1,gblur=9", "-frames:v", "1"),
            *("-c:v", "ffv1", str(stored)),
        )
    )
    copied = ("-i", str(stored), "-c", "copy", str(path))
    run_ffmpeg(ffmpeg_command("-display_rotation", "90", *copied))
    shown = []
    for name in (stored, path):
        video = read_video(name, tmp_path / "index.json", "mono")
        index = FrameIndex.load(tmp_path / "index.json")
        (deep,) = FrameReader(video, index, CPU, fine=True).batches(0, 1, 1)
        (plain,) = FrameReader(video, index, CPU).batches(0, 1, 1)
        assert plain.fine is None
        assert deep.fine is not None
        assert torch.equal(deep.rgb, plain.rgb)
        shown.append((deep.rgb[0], deep.fine[0]))
    assert shown[1][0].shape == (3, 96, 66)
    for straight, turned in zip(*shown, strict=True):
        assert len(straight.unique()) > 1
        assert torch.equal(straight[:, :65].rot90(1, (1, 2)), turned[..., :65])
