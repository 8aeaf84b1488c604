"""The page itself: one HTML file with all that it needs, made of a `PageState` and pictures.

Every text is escaped where it is put in; the page's policy lets run no script but its own.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING

from orchestrator.report.cards import FIRST_FLAGS, Card, cards
from orchestrator.report.charts import HEIGHT, WIDTH, load_charts
from orchestrator.report.needs import reasons
from orchestrator.report.state import PageState
from orchestrator.report.stills.stills import Pictures
from orchestrator.words import clock, counted, readable_size
from pipeline.text import printable

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

#: How often a page renews itself in a browser, in seconds.
REFRESH_S = 10

#: For so long after it was written that of an ended run does, if it awaits pictures; by then they
#: are there, or nobody makes them (`orchestrator/report/keeper.py`).
AWAIT_S = 90

#: A page shows so many videos at length, and tells of so many more in a line each: a browser must
#: not choke on it. `report.json` has all of them.
MOST_CARDS = 300
MOST_LINES = 2000

_NONE = "\N{EN DASH}"


@dataclass(frozen=True, slots=True)
class Album:
    """The pictures at hand, by the videos' ids, and what must be said of those that are not.

    Attributes:
        awaited: videos whose pictures are still to be made.
        not_made: videos whose pictures there was no time for.
        left_out: videos for which there was no room on the page.
        latest: thumbnails of videos in work, by their ids.
    """

    pictures: dict[str, tuple[Pictures, ...]]
    awaited: int = 0
    not_made: int = 0
    left_out: int = 0
    latest: Mapping[str, str] = field(default_factory=dict)


def render(state: PageState, album: Album) -> str:
    """The whole text of ``report.html``."""
    shown = cards(state, album.pictures, MOST_CARDS + MOST_LINES)
    made = [card for card in shown if not _only_waits(state, card)]
    waiting = [card for card in shown if _only_waits(state, card)]
    environment = _environment()
    script = _text(environment, "page.js")
    return environment.get_template("page.html").render(
        state=state,
        headline=_headline(state),
        lede=_lede(state),
        totals=_totals(state),
        done=_frames(state),
        groups=_groups(state, made[:MOST_CARDS]),
        cards=made[:MOST_CARDS],
        briefly=made[MOST_CARDS:],
        waiting=waiting,
        not_told=len(state.report.videos) - len(shown),
        charts=load_charts(state.report.load),
        chart_size=(WIDTH, HEIGHT),
        album=album,
        thumbs=_thumbs(state, made[:MOST_CARDS], album),
        first_flags=FIRST_FLAGS,
        clock=clock,
        workers=list(zip(state.report.workers, state.doing, strict=False)),
        report=state.report,
        moment=_moment,
        refresh_s=REFRESH_S,
        await_s=AWAIT_S,
        style=_text(environment, "page.css"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


@dataclass(frozen=True, slots=True)
class _Thumb:
    """`frame` is of the outputs."""

    frame: int
    data: str


def _thumbs(state: PageState, made: Sequence[Card], album: Album) -> dict[str, _Thumb]:
    """By the keys of the cards: of each video the picture that it is known by."""
    found = {
        f"v{number}": _Thumb(0, album.latest[video.id])
        for number, video in enumerate(state.report.videos)
        if video.id in album.latest
    }
    for card in made:
        for shown in card.shown:
            if shown.pictures.thumb:
                found[card.key] = _Thumb(shown.pictures.frame, shown.pictures.thumb)
    return found


def _only_waits(state: PageState, card: Card) -> bool:
    return card.badge.word == "waits" and card.done is None


def _headline(state: PageState) -> str:
    """While the run goes on, how far it is; then how many videos look good, and how many do not."""
    videos = state.report.videos
    if not videos:
        return "No videos"
    if state.ending is not None:
        return _verdict(state)
    done = sum(video.result in ("done", "done earlier") for video in videos)
    doubtful = sum(video.result == "doubtful" for video in videos)
    if done == len(videos):
        whole = {1: "The video is done", 2: "Both videos are done"}
        return whole.get(done, f"All {done} videos are done")
    if doubtful == len(videos) == 1:
        return "The video is doubtful"
    also = f", {doubtful} doubtful" if doubtful else ""
    return f"{done} of {counted(len(videos), 'video')} done{also}"


def _verdict(state: PageState) -> str:
    """``3 look good, 1 needs you``: every video is counted once."""
    videos = state.report.videos
    need = sum(next(reasons(video), None) is not None for video in videos)
    open_ended = sum(
        video.result == "not finished" and next(reasons(video), None) is None for video in videos
    )
    good = len(videos) - need - open_ended
    told = (
        (good, "looks good", "look good"),
        (need, "needs you", "need you"),
        (open_ended, "is not finished", "are not finished"),
    )
    parts = [(count, one if count == 1 else more) for count, one, more in told if count]
    if len(parts) == 1:
        whole = {1: "The video", 2: "Both videos"}.get(len(videos), f"All {len(videos):,} videos")
        return f"{whole} {parts[0][1]}"
    return ", ".join(f"{count:,} {words}" for count, words in parts)


def _groups(state: PageState, made: Sequence[Card]) -> list[tuple[str, str, list[Card]]]:
    """The videos by what is to be done about them: an id, a heading, and those that there are."""
    need = [card for card in made if card.reasons]
    good = [card for card in made if not card.reasons and card.badge.kind == "good"]
    work = [card for card in made if not card.reasons and card.badge.kind != "good"]
    groups = (
        ("look", "Need you", need),
        ("work", "Not finished" if state.ending else "In work", work),
        ("good", "Look good", good),
    )
    return [group for group in groups if group[2]]


def _lede(state: PageState) -> str:
    """One sentence: how it goes, or how it went."""
    report = state.report
    began = _moment(report.run.started_at)
    took = clock(report.seconds)
    if state.ending == "without a word":
        return (
            f"The run that began on {began} ended without a word: it was killed, or its machine"
            " was. The same command resumes it."
        )
    if state.ending == "in order":
        if report.stop_reason is not None:
            return f"Stopped after {took}: {printable(str(report.stop_reason))}"
        if report.exit_status == 130:
            return f"Stopped after {took}. The same command resumes it."
        return f"Begun on {began}, ended after {took}."
    parts = [f"In work since {began}"]
    if state.frames_per_second:
        parts.append(f"{state.frames_per_second:.1f} frames/s")
    if state.to_go_s is not None:
        parts.append(f"about {clock(state.to_go_s)} to go")
    return ", ".join(parts) + "."


def _totals(state: PageState) -> list[tuple[str, str]]:
    report = state.report
    videos = report.videos
    done, total = _frames(state)
    size = sum(output.size_bytes for video in videos for output in video.outputs)
    flags = sum(len(video.flags) for video in videos)
    failed = sum(video.error is not None for video in videos)
    doubtful = sum(video.result == "doubtful" for video in videos)
    own = sum(video.frames_done - video.frames_earlier for video in videos)
    speed = state.frames_per_second
    if state.ending is not None and report.seconds > 0 and own > 0:
        speed = own / report.seconds
    found = [
        ("Videos", f"{len(videos)}"),
        ("Frames", f"{done:,}" if done == total else f"{done:,} of {total:,}"),
        ("Time", clock(report.seconds)),
        ("Frames/s", f"{speed:.1f}" if speed else _NONE),
        ("Outputs", readable_size(size) if size else _NONE),
        ("Flags", f"{flags}"),
    ]
    rare = (("Doubtful", doubtful), ("Failed", failed))
    return [*found, *((name, f"{count}") for name, count in rare if count)]


def _frames(state: PageState) -> tuple[int, int]:
    """Frames done and frames to do, of the videos that have not been given up."""
    alive = [video for video in state.report.videos if video.error is None]
    return sum(video.frames_done for video in alive), sum(video.frames for video in alive)


def _moment(when: datetime) -> str:
    zone = f"{when:%z}"
    return f"{when.day} {when:%B %Y, %H:%M:%S} UTC" + (f"{zone[:3]}:{zone[3:5]}" if zone else "")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("orchestrator.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    environment.filters["lines"] = _lines
    environment.filters["number"] = lambda value: f"{value:,}"
    return environment


def _printable(value: object) -> object:
    """Text that comes from elsewhere, without control characters; ours (Markup) as it is."""
    return printable(value) if type(value) is str else value


def _lines(text: str) -> Markup:
    """Text of ours in lines, which stay lines."""
    from markupsafe import Markup

    return Markup("\n").join(printable(line) for line in text.split("\n"))


@cache
def _text(environment: Environment, name: str) -> str:
    """Of a file of ours, as it is."""
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]
