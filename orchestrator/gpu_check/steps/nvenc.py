"""Steps `nvenc` and `nvenc-speed`: every way to NVENC, its library's words, speed and sessions."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from fractions import Fraction

import torch
from torch import Tensor

from orchestrator.gpu_check.cards import with_engine, without_engine
from orchestrator.gpu_check.predicted import beside, expected
from orchestrator.gpu_check.results import Result, passed
from orchestrator.gpu_check.site import Site, Tell
from orchestrator.machine.nvenc import GEFORCE_SESSIONS, is_geforce
from pipeline.contract import EncodingSettings
from pipeline.contract.nvenc_ways import WAYS, NvencWay, named
from pipeline.deliverables.device_trial import film_problem
from pipeline.encode.choice import encoder_options
from pipeline.encode.ffmpeg_pipe import Encoder, PipeEncoder
from pipeline.encode.nvenc import DeviceEncoder
from pipeline.encode.nvenc_trial import Asked, only_these, try_way
from pipeline.encode.raw_pictures import RawPictures
from pipeline.errors import SessionRefused, VrmatteError
from pipeline.files.child import own_environment, tied
from workers.launch import visible_devices

_RATE = Fraction(30)
_COLOURS = ("-color_range", "tv", "-colorspace", "bt709")
_SESSIONS = 9

#: Frames of 512x256 that are more than a pipe holds: then the encoder has begun to read them.
_PAST_A_PIPE = 16

_SAID_S = 40.0


def options(site: Site, *, codec: str = "hevc") -> list[str]:
    """ffmpeg's options as a segment has them; in a rehearsal those of x264."""
    if site.rehearsal:
        return ["-c:v", "libx264", "-preset", "ultrafast", "-g", "60", "-pix_fmt", "yuv420p"]
    assert codec == "hevc"
    return encoder_options(EncodingSettings(codec="hevc", encoder="nvenc"), 60)


def each_way(site: Site, tell: Tell) -> None:
    """See `orchestrator.gpu_check.site.Run`: `nvenc`."""
    width, height = (512, 256) if site.rehearsal else (1920, 1080)
    asked, works = Asked(tuple(options(site)), width, height), []
    for way in WAYS:
        why = problem(site, way, asked)
        what, has = f"NVENC by {way.words}", site.encodes("hevc")
        if why is None:
            works.append(way.name)
            tell(passed(what, with_engine(site.engines, has), "a frame is encoded"))
        else:
            tell(without_engine(what, site.engines, has, why, said_by(site, way, asked)))
    if site.encodes("hevc"):
        found = f"the first that works: {works[0]}" if works else "none"
        tell(passed("a way to NVENC", "at least one", found, bool(works)))


def problem(site: Site, way: NvencWay, asked: Asked) -> str | None:
    """Why that way does not encode it, or None."""
    if site.rehearsal and way.takes == "gpu":
        folder = site.work_folder("nvenc")
        return film_problem((*asked.options, *_COLOURS), asked.width, asked.height, "cpu", folder)
    seen = visible_devices("cpu" if site.rehearsal else 0, os.environ)
    return try_way(way, asked, only_these(seen, os.environ))


def said_by(site: Site, way: NvencWay, asked: Asked) -> str:
    """All that the library says of one frame on the standard error, which is why it failed."""
    if way.takes == "gpu":
        command = _command_of_trial(asked)
    else:
        pictures = RawPictures((asked.width, asked.height), _RATE, asked.pixel_format)
        command = named(way.command)(pictures, asked.options, "null", "/dev/null")
    frame = b"\0" * (asked.width * asked.height * 3 // 2)
    environment = {**own_environment(), "TORCHCODEC_FFMPEG_LOG_LEVEL": "VERBOSE"}
    try:
        done = subprocess.run(
            tied(command),
            input=None if way.takes == "gpu" else frame,
            capture_output=True,
            timeout=_SAID_S,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        return f"it did not end within {_SAID_S:g} s"
    except BrokenPipeError:
        return "it read no frame"
    return done.stderr.decode(errors="replace").strip()


def _command_of_trial(asked: Asked) -> list[str]:
    import json

    from pipeline.files.child import own_module

    wanted = {"options": asked.options, "width": asked.width, "height": asked.height}
    words = json.dumps({**wanted, "device": "cuda"})
    return own_module("pipeline.deliverables.device_trial", words)[0]


def speed(site: Site, tell: Tell) -> None:
    """See `orchestrator.gpu_check.site.Run`: `nvenc-speed`."""
    if site.encodes("hevc") is False:
        tell(Result("NVENC at 8K", "none (by the table)", "not tried", "absent"))
        return
    width, height = site.large
    asked = Asked(tuple(options(site)), width, height)
    works = []
    for way in WAYS:
        what = f"NVENC at {width}x{height} by {way.words}"
        why = problem(site, way, asked)  # from the GPU's memory: in all matrices
        if why is not None:
            tell(without_engine(what, site.engines, site.encodes("hevc"), why))
            continue
        works.append(way)
        key = "frames/s of NVENC at 8K" if way.takes == "gpu" else "frames/s by pipe at 8K"
        rate = frames_per_second(site, way, asked)
        card = site.machine.card
        found = beside(key, card, rate)
        tell(passed(what, expected(key, card), found, frames_per_second=rate))
    if works:
        tell(sessions(site, _opener(site, works[0])))


def frames_per_second(site: Site, way: NvencWay, asked: Asked) -> float:
    """Of pictures that are there already, without the first one."""
    frames = 6 if site.rehearsal else 60
    encoder, picture = _encoder(site, way, asked, f"speed-{way.name}.mp4")
    try:
        encoder.write(picture)
        began = time.perf_counter()
        for _ in range(frames):
            encoder.write(picture)
        encoder.close()
    except BaseException:
        encoder.abort()
        raise
    return frames / (time.perf_counter() - began)


def _encoder(site: Site, way: NvencWay, asked: Asked, name: str) -> tuple[Encoder, Tensor]:
    """An encoder by that way, and a picture where it takes pictures from."""
    path = site.work_folder("nvenc") / name
    size = asked.width, asked.height
    samples = asked.width * asked.height * 3 // (1 if way.takes == "gpu" else 2)
    # Not noise alone, whose files would fill a disk.
    grain = torch.randint(0, 8, (1, samples), dtype=torch.uint8)
    picture = (torch.arange(samples) // 4096 % 200 + 16).to(torch.uint8)[None] + grain
    if way.takes == "gpu":
        encoder = DeviceEncoder(path, size, _RATE, asked.options, device=site.device)
        return encoder, picture.to(site.device)
    pictures = RawPictures(size, _RATE, asked.pixel_format)
    command = named(way.command)(pictures, asked.options, "mp4", str(path))
    return PipeEncoder(command), picture


def _opener(site: Site, way: NvencWay) -> Callable[[int], Encoder]:
    asked = Asked(tuple(options(site)), 512, 256)

    def opened(number: int) -> Encoder:
        encoder, picture = _encoder(site, way, asked, f"session-{number}.mp4")
        try:
            for _ in range(_PAST_A_PIPE):
                encoder.write(picture)
        except BaseException:
            encoder.abort()
            raise
        return encoder

    return opened


def sessions(site: Site, opened: Callable[[int], Encoder]) -> Result:
    """So many at once as more than GeForce has; the plan of lanes counts on the driver's limit.

    Args:
        opened: a session by its number.
    """
    limited = is_geforce(site.machine.card)
    what = f"{_SESSIONS} NVENC sessions at once"
    wanted = f"{GEFORCE_SESSIONS}, then refused (GeForce)" if limited else f"{_SESSIONS}"
    count, end, known = 0, "", True
    with ExitStack() as ends:
        for number in range(_SESSIONS):
            try:
                encoder = opened(number)
            except SessionRefused as error:
                end = f", then refused: {error.message}"
                break
            except VrmatteError as error:
                end = f", then an error that is not known for a refusal: {error.message}"
                known = False
                break
            ends.callback(_given_up, encoder)
            count += 1
    right = known and count >= (GEFORCE_SESSIONS if limited else _SESSIONS)
    return passed(what, wanted, f"{count}{end}", right, sessions=float(count))


def _given_up(encoder: Encoder) -> None:
    with suppress(Exception):
        encoder.abort()
