"""The cards of the page: each video in words, those that deserve a look first."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from orchestrator.report.charts import area_path, busy_shares
from orchestrator.report.needs import FLAGS, Need, needs, reasons
from orchestrator.report.report import RunFacts, VideoFacts, VideoReport
from orchestrator.report.stage_shares import bottleneck, in_words
from orchestrator.report.state import PageState, VideoPhase
from orchestrator.report.stills.reuse import picture_key
from orchestrator.report.stills.stills import Moment, Pictures, moments, shown_output
from orchestrator.settings.overrides import may_differ
from orchestrator.words import clock, precise, readable_size
from pipeline.contract import NO_MODEL, OutputFile
from pipeline.contract.video import CUT_OFF
from pipeline.deliverables.formats import FORMATS
from pipeline.text import printable

_LAYOUTS = {"mono": "one eye", "sbs": "two eyes, side by side", "tb": "two eyes, one over another"}

#: What browsers play, by the end of the name.
_PLAYED = {".webm": "video/webm", ".mp4": "video/mp4", ".mov": "video/quicktime"}

#: The type of HEVC with an alpha layer in a page. Apple's browsers take it, and see its alpha. The
#: others see none, some play HEVC, but none of them takes this type: they go on to the next file.
_APPLE = 'video/quicktime; codecs="hvc1"'

#: Flags of a kind that are listed at once.
FIRST_FLAGS = 8

#: How the notes begin that say what the flags say better.
_OF_FLAGS = "deserves a look: "


@dataclass(frozen=True, slots=True)
class Badge:
    """How it stands with a video: a kind for the style, a symbol and a word for everybody."""

    kind: str
    symbol: str
    word: str


@dataclass(frozen=True, slots=True)
class Link:
    """A file in OUT, by an address relative to the page; None where it lies elsewhere.

    Attributes:
        for_whom: what it is for; empty where that is not known.
    """

    words: str
    address: str | None
    for_whom: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """How both eyes lie in a picture, so that one of them can be shown alone.

    Attributes:
        kind: "sbs", "tb" or "mono", for the style; with "swapped" behind it where the right eye
            comes first.
        eye, both: width by height of one eye and of the whole.
    """

    kind: str
    eye: float
    both: float


@dataclass(frozen=True, slots=True)
class Player:
    """Outputs that a browser may play: it takes the first that it can.

    Attributes:
        address: of the one that is linked.
        sources: address and type of each.
    """

    address: str
    sources: tuple[tuple[str, str], ...]
    alpha: bool
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Shown:
    """A frame with its pictures; `is_empty`: its result is said to hold nothing."""

    words: str
    time: str
    seconds: float
    pictures: Pictures
    is_empty: bool = False


@dataclass(frozen=True, slots=True)
class Card:
    """One video.

    Attributes:
        key: for addresses within the page.
        reasons: why it deserves a look; empty where it does not. `needs` tells the same at length.
        order: where it comes among the others.
        source_view, result_view: of its pictures.
        can_wipe: its result lies on its source, pixel by pixel.
        marks: of flags on the line of time: from where and how far, in per cent.
        ticks: borders of segments on it, in per cent.
        own: settings that differ from the defaults; None where they are not known.
        load: how busy the machine and the stages were.
        done: frames done and to do, while it is in work.
    """

    key: str
    name: str
    badge: Badge
    reasons: tuple[str, ...]
    needs: tuple[Need, ...]
    order: tuple[float, ...]
    about: str
    source_view: View
    result_view: View
    can_wipe: bool
    player: Player | None
    outputs: tuple[Link, ...]
    more_flags: int
    marks: tuple[tuple[float, float], ...]
    ticks: tuple[float, ...]
    area: str
    shown: tuple[Shown, ...]
    pictures_key: str
    facts: tuple[tuple[str, str], ...]
    own: tuple[tuple[str, str], ...] | None
    load: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
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
    if video.left_out:
        return (0.75, number)
    if next(reasons(video), None) is not None:
        return (1, -len({flag.kind for flag in video.flags}), -flagged, number)
    ranks = {"in work": 2, "is joined": 2, "waits": 5, "ended": 3}
    rank = ranks[state.standings[number]]
    if video.result == "not finished" and rank == 3:
        rank = 2
    return (4 if video.result == "done earlier" else rank, number)


def _card(state: PageState, number: int, pictures: Sequence[Pictures]) -> Card:
    video, standing = state.report.videos[number], state.standings[number]
    found = tuple(needs(video))
    flags = [flag for need in found for flag in need.flags]
    working = standing in ("in work", "is joined") or (
        video.result == "not finished" and video.frames_done > 0
    )
    source_view, result_view = _views(video)
    return Card(
        key=f"v{number}",
        name=printable(video.name),
        badge=_badge(state, video, standing),
        reasons=tuple(reasons(video)),
        needs=found,
        order=_order(state, number),
        about=_about(video),
        source_view=source_view,
        result_view=result_view,
        can_wipe=source_view == result_view,
        player=_player(video, state.report.run.out),
        outputs=tuple(_link(output, state) for output in video.outputs),
        more_flags=len(video.flags) - len(flags) + video.dropped_flags,
        marks=tuple((flag.left, flag.width) for flag in flags),
        ticks=tuple(_ticks(video)),
        area=area_path(video.area),
        pictures_key=picture_key(video),
        shown=tuple(_shown(video, moments(video), pictures)),
        facts=tuple(_facts(video)),
        own=_own_settings(state.report.run, video),
        load=tuple(_load(state, video)),
        notes=tuple(
            printable(note) for note in video.notes if not note.startswith((_OF_FLAGS, CUT_OFF))
        ),
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
    why = f" ({facts.model_why})" if facts.model_why else ""
    return (
        f"{size}, {_LAYOUTS[facts.layout]}, {facts.projection},"
        f" {facts.frame_rate:.5g} frames/s, {clock(video.frames / facts.frame_rate)}"
    ) + ("" if facts.model == NO_MODEL else f", model {facts.model}{why}")


def _views(video: VideoReport) -> tuple[View, View]:
    """Of the source and of what is shown of the result."""
    facts, output = video.facts, shown_output(video)
    source = _view(facts) if facts is not None else View("mono", 2.0, 2.0)
    row = None if output is None else FORMATS.get(output.deliverable)
    if row is not None and row.alpha == "packed":
        return source, View("sbs", 1.0, 2.0)
    return source, source


def _view(facts: VideoFacts) -> View:
    both = facts.width / facts.height
    eye = both * {"mono": 1, "sbs": 0.5, "tb": 2}[facts.layout]
    swapped = " swapped" if facts.right_first and facts.layout != "mono" else ""
    return View(facts.layout + swapped, round(eye, 4), round(both, 4))


def _player(video: VideoReport, out: str) -> Player | None:
    output = shown_output(video)
    if output is None or video.facts is None:
        return None
    sources = []
    layered = [o for o in video.outputs if (f := FORMATS.get(o.deliverable)) and f.alpha == "layer"]
    for each, kind in (
        *((each, _APPLE) for each in layered),
        (output, _PLAYED.get(Path(output.path).suffix)),
    ):
        where = address(each.path, out)
        if kind is not None and where is not None:
            sources.append((where, kind))
    if not sources:
        return None
    row = FORMATS.get(output.deliverable)
    transparent = row is not None and row.is_transparent
    width, height = video.facts.width, video.facts.height
    return Player(sources[-1][0], tuple(sources), transparent, width, height)


def _link(output: OutputFile, state: PageState) -> Link:
    words = f"{printable(Path(output.path).name)}, {readable_size(output.size_bytes)}"
    row = FORMATS.get(output.deliverable)
    for_whom = row.for_whom if row is not None else ""
    return Link(words, address(output.path, state.report.run.out), printable(for_whom))


def _ticks(video: VideoReport) -> Iterator[float]:
    """Where segments meet; nowhere at the ends."""
    for start in video.segment_starts[1:]:
        place = start - video.segment_starts[0]
        if 0 < place < video.frames:
            yield round(100 * place / video.frames, 2)


def _shown(
    video: VideoReport, chosen: Sequence[Moment], pictures: Sequence[Pictures]
) -> Iterator[Shown]:
    by_frame = {picture.frame: picture for picture in pictures}
    all_empty = any(doubt.kind == "nothing_found" for doubt in video.doubts)
    for moment in chosen:
        if moment.frame in by_frame and video.facts is not None:
            seconds = moment.frame / video.facts.frame_rate
            why = FLAGS[moment.why][1] if moment.why in FLAGS else moment.why
            is_empty = all_empty or moment.why == "empty"
            drawn = by_frame[moment.frame]
            yield Shown(why, precise(seconds), round(seconds, 3), drawn, is_empty)


def _own_settings(run: RunFacts, video: VideoReport) -> tuple[tuple[str, str], ...] | None:
    """What differs from the defaults for this video, as far as it concerns videos."""
    if not video.of_this_run or video.facts is None:
        return None
    merged = {**run.changed, **video.differs}
    return tuple(
        (printable(key), printable(value))
        for key, value in sorted(merged.items())
        if may_differ(*key.partition(".")[::2])
    )


def _facts(video: VideoReport) -> Iterator[tuple[str, str]]:
    if video.frames:
        done = video.frames_done == video.frames
        yield "Frames", f"{video.frames}" if done else f"{video.frames_done} of {video.frames}"
    if video.seconds is not None:
        yield "Time", clock(video.seconds)
    if video.frames_per_second:
        yield "Speed", f"{video.frames_per_second:.1f} frames/s"
    if video.decoders:
        yield "Decoded by", "; ".join(map(printable, video.decoders))
    if video.retries:
        yield "Attempts lost", f"{video.retries}, made again" + "".join(_losses(video))
    if video.subject_depth_m is not None:
        yield "Subject's distance", f"about {video.subject_depth_m:.1f} m"


def _load(state: PageState, video: VideoReport) -> Iterator[tuple[str, str]]:
    if video.started_s is not None and video.ended_s is not None:
        shares = busy_shares(state.report.load, video.started_s, video.ended_s)
        if shares:
            yield "Busy meanwhile", ", ".join(f"{name} {share:.0%}" for name, share in shares)
    if video.stages is not None:
        yield "Stages busy", printable(in_words(video.stages))
        if narrow := bottleneck(video.stages):
            yield "Bottleneck", printable(narrow)


def _losses(video: VideoReport) -> Iterator[str]:
    """Why, each reason once."""
    counts = Counter(printable(str(loss.error)) for loss in video.losses)
    for place, (reason, count) in enumerate(counts.items()):
        times = f" ({count} times)" if count > 1 else ""
        yield f"{';' if place else ':'} {reason}{times}"
