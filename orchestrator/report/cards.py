"""The cards of the page: each video in words, those that deserve a look first."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from orchestrator.report.charts import area_path, busy_shares
from orchestrator.report.findings import TimedFlag, at_the_edge
from orchestrator.report.report import VideoReport
from orchestrator.report.stage_shares import bottleneck, in_words
from orchestrator.report.state import PageState, VideoPhase
from orchestrator.report.stills.reuse import picture_key
from orchestrator.report.stills.stills import Moment, Pictures, moments, shown_output
from orchestrator.words import clock, counted, precise, readable_size
from pipeline.contract.video import CUT_OFF
from pipeline.deliverables.formats import FORMATS
from pipeline.judge.doubt import Doubt
from pipeline.text import printable

#: A symbol and words for each kind of flag; both are shown, whatever the colour.
FLAGS = {
    "empty": ("∅", "nothing is matted"),
    "jump": ("⇅", "the matte's area jumps"),
    "eyes_disagree": ("≠", "the eyes disagree"),
    "flicker": ("≈", "the matte flickers"),
    "touches_edge": ("⊣", "the subject is cut off at the edge"),
}

_LAYOUTS = {"mono": "one eye", "sbs": "two eyes, side by side", "tb": "two eyes, one over another"}

#: What browsers play, by the end of the name.
_PLAYED = {".webm": "video/webm", ".mp4": "video/mp4", ".mov": "video/quicktime"}

#: Flags of a video that are listed at once, and at the most.
FIRST_FLAGS, MOST_FLAGS = 8, 100

#: How the notes begin that say what the flags say better.
_OF_FLAGS = "deserves a look: "


@dataclass(frozen=True, slots=True)
class Badge:
    """How it stands with a video: a kind for the style, a symbol and a word for everybody."""

    kind: str
    symbol: str
    word: str


@dataclass(frozen=True, slots=True)
class FlagLine:
    """One flag; `begin_s` is a time of the output.

    Attributes:
        left, width: of its mark on the line of time, in per cent of the length.
    """

    kind: str
    symbol: str
    words: str
    times: str
    begin_s: float
    left: float
    width: float


@dataclass(frozen=True, slots=True)
class Link:
    """A file in OUT, by an address relative to the page; None where it lies elsewhere."""

    words: str
    address: str | None


@dataclass(frozen=True, slots=True)
class Player:
    """An output that a browser may play."""

    address: str
    kind: str
    alpha: bool
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Shown:
    """A frame with its pictures."""

    words: str
    time: str
    seconds: float
    pictures: Pictures


@dataclass(frozen=True, slots=True)
class Card:
    """One video.

    Attributes:
        key: for addresses within the page.
        reasons: why it deserves a look; empty where it does not.
        order: where it comes among the others.
        done: frames done and to do, while it is in work.
    """

    key: str
    name: str
    badge: Badge
    reasons: tuple[str, ...]
    order: tuple[float, ...]
    about: str
    player: Player | None
    outputs: tuple[Link, ...]
    flags: tuple[FlagLine, ...]
    more_flags: int
    area: str
    shown: tuple[Shown, ...]
    pictures_key: str
    facts: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    doubts: tuple[Doubt, ...]
    error: str
    advice: str
    done: tuple[int, int] | None


def cards(
    state: PageState,
    pictures: dict[str, tuple[Pictures, ...]] | None = None,
    most: int | None = None,
) -> tuple[Card, ...]:
    """All videos, or so many, those that deserve a look first.

    Args:
        pictures: by the videos' ids.
    """
    videos = state.report.videos
    return tuple(
        _card(state, number, (pictures or {}).get(videos[number].id, ()))
        for number in _in_order(state)[:most]
    )


def look_order(state: PageState) -> list[VideoReport]:
    """The videos in that order."""
    return [state.report.videos[number] for number in _in_order(state)]


def _in_order(state: PageState) -> list[int]:
    return sorted(range(len(state.report.videos)), key=lambda number: _order(state, number))


def reasons(video: VideoReport) -> Iterator[str]:
    """Why a video deserves a look, the gravest first."""
    if video.error is not None:
        yield video.result
    for doubt in video.doubts:
        yield f"doubtful: {printable(doubt.seen)}"
    for kind, count in Counter(flag.kind for flag in video.flags).most_common():
        words = FLAGS[kind][1]
        yield f"{words} ({counted(count, 'place')})" if count > 1 else words
    if video.concealed_frames:
        yield f"{counted(video.concealed_frames, 'frame')} could not be decoded"
    yield from (printable(note) for note in video.notes if note.startswith(CUT_OFF))


def address(path: str, out: str) -> str | None:
    """Of a file in OUT, relative to the page; None where it does not lie in OUT."""
    relative = os.path.relpath(path, out)
    if relative.startswith(".."):
        return None
    return quote(os.fsencode("./" + relative), safe="/")


def _order(state: PageState, number: int) -> tuple[float, ...]:
    video = state.report.videos[number]
    flagged = sum(flag.end_s - flag.start_s for flag in video.flags)
    if video.error is not None:
        return (0, number)
    if video.doubts:
        return (0.5, number)
    if next(reasons(video), None) is not None:
        return (1, -len({flag.kind for flag in video.flags}), -flagged, number)
    ranks = {"in work": 2, "is joined": 2, "waits": 5, "ended": 3}
    rank = ranks[state.standings[number]]
    if video.result == "not finished" and rank == 3:
        rank = 2
    return (4 if video.result == "done earlier" else rank, number)


def _card(state: PageState, number: int, pictures: Sequence[Pictures]) -> Card:
    video, standing = state.report.videos[number], state.standings[number]
    flags = tuple(_flag(video, flag) for flag in video.flags[:MOST_FLAGS])
    working = standing in ("in work", "is joined") or (
        video.result == "not finished" and video.frames_done > 0
    )
    return Card(
        key=f"v{number}",
        name=printable(video.name),
        badge=_badge(state, video, standing),
        reasons=tuple(reasons(video)),
        order=_order(state, number),
        about=_about(video),
        player=_player(video, state.report.run.out),
        outputs=tuple(_link(output.path, output.size_bytes, state) for output in video.outputs),
        flags=flags,
        more_flags=len(video.flags) - len(flags) + video.dropped_flags,
        area=area_path(video.area),
        pictures_key=picture_key(video),
        shown=tuple(_shown(video, moments(video), pictures)),
        facts=tuple(_facts(state, video)),
        notes=tuple(printable(n) for n in video.notes if not n.startswith(_OF_FLAGS)),
        doubts=video.doubts,
        error="" if video.error is None else printable(video.error.message),
        advice="" if video.error is None else printable(video.error.advice),
        done=(video.frames_done, video.frames) if working else None,
    )


def _badge(state: PageState, video: VideoReport, standing: VideoPhase) -> Badge:
    if video.error is not None:
        return Badge("bad", "✕", video.result)
    if standing != "ended":
        kinds = {"waits": ("waits", "·"), "in work": ("work", "▸"), "is joined": ("work", "▸")}
        return Badge(*kinds[standing], standing)
    if video.result == "not finished":
        return Badge("waits", "…", video.result)
    if video.result == "doubtful":
        return Badge("look", "?", video.result)
    if next(reasons(video), None) is not None:
        return Badge("look", "!", f"{video.result}, deserves a look")
    return Badge("good", "✓", video.result)


def _about(video: VideoReport) -> str:
    facts = video.facts
    if facts is None:
        return ""
    size = f"{facts.width} \N{MULTIPLICATION SIGN} {facts.height}"
    return (
        f"{size}, {_LAYOUTS[facts.layout]}, {facts.projection},"
        f" {facts.frame_rate:.5g} frames/s, {clock(video.frames / facts.frame_rate)},"
        f" model {facts.model}{f' ({facts.model_why})' if facts.model_why else ''}"
    )


def _player(video: VideoReport, out: str) -> Player | None:
    output = shown_output(video)
    kind = _PLAYED.get(Path(output.path).suffix) if output is not None else None
    where = None if output is None else address(output.path, out)
    if output is None or kind is None or where is None or video.facts is None:
        return None
    row = FORMATS.get(output.deliverable)
    transparent = row is not None and row.is_transparent
    return Player(where, kind, transparent, video.facts.width, video.facts.height)


def _link(path: str, size_bytes: int, state: PageState) -> Link:
    words = f"{printable(Path(path).name)}, {readable_size(size_bytes)}"
    return Link(words, address(path, state.report.run.out))


def _flag(video: VideoReport, flag: TimedFlag) -> FlagLine:
    facts = video.facts
    first, rate = (facts.first_frame, facts.frame_rate) if facts else (0, 1.0)
    begin_s = max(0, flag.first_frame - first) / rate
    end_s = max(0, flag.last_frame + 1 - first) / rate
    whole_s = max(video.frames / rate, end_s, 1e-6)
    symbol, words = FLAGS[flag.kind]
    times = precise(begin_s)
    if end_s - begin_s >= 0.1:
        times = f"{times} to {precise(end_s)}"
    if flag.kind == "touches_edge":
        words = f"the subject is cut off{at_the_edge(flag)}"
    eye = {None: "", 0: ", left eye", 1: ", right eye"}[flag.eye]
    return FlagLine(
        kind=flag.kind,
        symbol=symbol,
        words=words + eye,
        times=times,
        begin_s=round(begin_s, 3),
        left=round(100 * begin_s / whole_s, 2),
        width=round(100 * (end_s - begin_s) / whole_s, 2),
    )


def _shown(
    video: VideoReport, chosen: Sequence[Moment], pictures: Sequence[Pictures]
) -> Iterator[Shown]:
    by_frame = {picture.frame: picture for picture in pictures}
    for moment in chosen:
        if moment.frame in by_frame and video.facts is not None:
            seconds = moment.frame / video.facts.frame_rate
            why = FLAGS[moment.why][1] if moment.why in FLAGS else moment.why
            yield Shown(why, precise(seconds), round(seconds, 3), by_frame[moment.frame])


def _facts(state: PageState, video: VideoReport) -> Iterator[tuple[str, str]]:
    if video.frames:
        done = video.frames_done == video.frames
        yield "Frames", f"{video.frames}" if done else f"{video.frames_done} of {video.frames}"
    if video.seconds is not None:
        yield "Time", clock(video.seconds)
    if video.frames_per_second:
        yield "Speed", f"{video.frames_per_second:.1f} frames/s"
    if video.started_s is not None and video.ended_s is not None:
        shares = busy_shares(state.report.load, video.started_s, video.ended_s)
        if shares:
            yield "Busy meanwhile", ", ".join(f"{name} {share:.0%}" for name, share in shares)
    if video.stages is not None:
        yield "Stages busy", printable(in_words(video.stages))
        if narrow := bottleneck(video.stages):
            yield "Bottleneck", printable(narrow)
    if video.decoders:
        yield "Decoded by", "; ".join(map(printable, video.decoders))
    if video.retries:
        yield "Attempts lost", f"{video.retries}, made again" + "".join(_losses(video))
    if video.subject_depth_m is not None:
        yield "Subject's distance", f"about {video.subject_depth_m:.1f} m"


def _losses(video: VideoReport) -> Iterator[str]:
    """Why, each reason once."""
    counts = Counter(printable(str(loss.error)) for loss in video.losses)
    for place, (reason, count) in enumerate(counts.items()):
        times = f" ({count} times)" if count > 1 else ""
        yield f"{';' if place else ':'} {reason}{times}"
