"""States of a run that tests of the page make up, with pictures that are drawn on the spot."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import cache

from PIL import Image, ImageDraw

from orchestrator.report.findings import TimedFlag
from orchestrator.report.page import Album
from orchestrator.report.report import (
    SCHEMA_VERSION,
    Loss,
    Report,
    RunFacts,
    VideoFacts,
    VideoReport,
    WorkerReport,
)
from orchestrator.report.state import PageState
from orchestrator.report.stills.stills import Pictures, moments
from orchestrator.watch.device_load import DeviceLoad, LoadPoint
from pipeline.contract import OutputFile
from pipeline.errors import ErrorRecord
from pipeline.judge.doubt import Doubt
from pipeline.judge.findings import FlagKind

BEGIN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=1)))
RATE = 30.0

#: What would do harm if it were taken for anything but text.
HOSTILE = (
    '<script>document.title="taken"</script><img src=x onerror=document.title="taken">.mp4',
    "\"'><svg onload=document.title='taken'> & &amp; </title></style></script>{{ 7*7 }}.mp4",
    "видео_עברית_عربى_日本語_" + "without_any_place_to_break_it_" * 5 + ".mp4",
)


def flag(kind: FlagKind, first: int, last: int, eye: int | None = None) -> TimedFlag:
    return TimedFlag(kind, first, last, eye, 0.4, first / RATE, (last + 1) / RATE)


def video(
    number: int, name: str, out: str = "/out", flags: tuple[TimedFlag, ...] = ()
) -> VideoReport:
    """One that is done."""
    return VideoReport(
        name=name,
        source=f"/in/{name}",
        result="done",
        frames=2400,
        frames_done=2400,
        seconds=95.0,
        frames_per_second=25.3,
        outputs=(
            OutputFile("webm", f"{out}/sub folder/{number}#?% é_matte.webm", 123456789, 2400),
            OutputFile("greenscreen", f"{out}/{number}_green.mp4", 1234567, 2400),
        ),
        decoders=("NVDEC",),
        notes=("two eyes: by the name",),
        id=f"{number:016x}",
        facts=VideoFacts(3840, 1920, "sbs", "equirect180", RATE, 0, "rvm"),
        started_s=20.0 * number,
        ended_s=20.0 * number + 95.0,
        flags=flags,
        area=tuple(0.08 + 0.03 * math.sin(part / 7 + number) for part in range(120)),
        stages={"decode": 0.12, "matte": 0.81, "planes": 0.03, "encode": 0.34},
    )


def unfinished(number: int, name: str, frames_done: int) -> VideoReport:
    return replace(
        video(number, name),
        result="not finished",
        frames_done=frames_done,
        seconds=None,
        frames_per_second=None,
        outputs=(),
        started_s=None,
        ended_s=None,
        area=(),
        stages=None,
    )


def report(*videos: VideoReport, out: str = "/out", load: tuple[LoadPoint, ...] = ()) -> Report:
    facts = RunFacts("0.1.0", ("/in",), out, "f" * 16, BEGIN, BEGIN + timedelta(hours=1))
    workers = (
        WorkerReport(0, "NVIDIA L4 (cuda:0)", 3, 2, 1, False, ErrorRecord("device", "killed")),
        WorkerReport(1, "NVIDIA L4 (cuda:1)", 3, 1, 0, False, None),
    )
    return Report(SCHEMA_VERSION, 1, 3600.0, facts, videos, workers, load=load)


def load() -> tuple[LoadPoint, ...]:
    def wave(part: int, pace: float) -> float:
        return 0.5 + 0.4 * math.sin(part / pace)

    return tuple(
        LoadPoint(
            2.0 * part,
            tuple(
                DeviceLoad(
                    worker,
                    gpu=worker,
                    name="NVIDIA L4",
                    busy=wave(part, 9 + worker),
                    decoder=wave(part, 5),
                    encoder=0.1,
                    vram=0.3 + part / 400,
                    temperature_c=50 + part / 10,
                )
                for worker in (0, 1)
            ),
            cpu=wave(part, 11),
            rss_bytes=2 * 10**9,
        )
        for part in range(120)
    )


def every_kind(out: str = "/out") -> PageState:
    """A run that goes on, with videos in every state."""
    flags = (
        flag("jump", 300, 302),
        flag("eyes_disagree", 600, 680, 1),
        flag("touches_edge", 900, 1200, 0),
        flag("flicker", 1500, 1530),
        flag("empty", 2000, 2100),
        *(flag("jump", 2110 + 20 * turn, 2111 + 20 * turn) for turn in range(8)),
    )
    memory = ErrorRecord("resource", "out of memory")
    damaged = ErrorRecord("decode", "frame 1200 cannot be decoded", "try to remux it")
    videos = (
        video(0, "talk_LR_180.mp4", out),
        replace(
            video(1, "dance_LR_180.mp4", out, flags),
            retries=2,
            losses=(Loss(1, 1, 0, memory), Loss(2, 1, 0, memory)),
            dropped_flags=3,
            stages={"decode": 0.12, "matte": 0.5, "planes": 0.41, "encode": 0.34},
        ),
        replace(unfinished(2, HOSTILE[0], 1200), result="failed", error=damaged),
        unfinished(3, HOSTILE[2], 960),
        unfinished(4, "concert.mp4", 0),
        replace(video(5, HOSTILE[1], out), concealed_frames=3, notes=(HOSTILE[0],)),
        replace(video(6, "earlier.mp4", out), result="done earlier", seconds=None),
        replace(
            video(7, "sky.mp4", out),
            result="doubtful",
            doubts=(Doubt("sky", HOSTILE[0], HOSTILE[1]),),
        ),
        VideoReport(
            "bad.mp4", "/in/bad.mp4", "set aside", error=ErrorRecord("input", "no video", "skip it")
        ),
    )
    return PageState(
        report=report(*videos, out=out, load=load()),
        now=BEGIN + timedelta(hours=1),
        ending=None,
        standings=("ended", "ended", "ended", "in work", "waits", *("ended",) * 4),
        doing=("2 segments of dance", "waits"),
        frames_per_second=112.4,
        to_go_s=4803.0,
    )


def album(state: PageState) -> Album:
    """Pictures of all videos that are done."""
    return Album(
        {
            video.id: tuple(pictures(moment.frame) for moment in moments(video))
            for video in state.report.videos
            if video.outputs
        }
    )


@cache
def pictures(frame: int) -> Pictures:
    """Of two figures before a grey sky."""
    source = Image.new("RGB", (480, 240), (90, 110, 130))
    result = Image.new("RGBA", (480, 240))
    for picture in (source, result):
        draw = ImageDraw.Draw(picture)
        for eye in (0, 240):
            x = eye + 90 + frame % 40
            draw.ellipse([x, 60, x + 60, 120], fill=(220, 170, 140))
            draw.rounded_rectangle([x - 20, 118, x + 80, 240], 20, fill=(150, 50, 60))
    texts = [_webp(part) for part in (source, result.getchannel("A"), result)]
    return Pictures(frame, texts[0], texts[1], texts[2], (480, 240))


def _webp(picture: Image.Image) -> str:
    held = io.BytesIO()
    picture.save(held, "WEBP", quality=62)
    return base64.b64encode(held.getvalue()).decode()
