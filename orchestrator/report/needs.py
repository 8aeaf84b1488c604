"""What a person should look at in a video, each with what to do about it; the gravest first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.report.advice import (
    AT_A_BORDER,
    DAMAGED,
    Advice,
    doubt_values,
    flag_advice,
    left_out_advice,
    override_text,
    redo_text,
)
from orchestrator.report.findings import TimedFlag, at_the_edge
from orchestrator.report.report import VideoReport
from orchestrator.words import counted, precise
from pipeline.contract.video import CUT_OFF
from pipeline.judge.findings import FlagKind
from pipeline.text import printable

#: A symbol and words for each kind of flag; both are shown, whatever the colour.
FLAGS: dict[FlagKind, tuple[str, str]] = {
    "empty": ("∅", "nothing is matted"),
    "jump": ("⇅", "the matte's area jumps"),
    "eyes_disagree": ("≠", "the eyes disagree"),
    "flicker": ("≈", "the matte flickers"),
    "touches_edge": ("⊣", "the subject is cut off at the edge"),
}

#: Flags of a video that are listed at the most, of all kinds together.
MOST_FLAGS = 100

#: Frames between a flag and the border of a segment that may have caused it.
_NEAR_FRAMES = 2

#: The times of a flag that lasts from the first frame to the last.
WHOLE = "whole video"

_EYES = {None: "", 0: "left eye", 1: "right eye"}


@dataclass(frozen=True, slots=True)
class FlagLine:
    """One flag; `begin_s` and `end_s` are times of the output.

    Attributes:
        times: "whole video" where it lasts from the first frame to the last.
        where: the eye, or the edge; empty where it is in all of the picture.
        left, width: of its mark on the line of time, in per cent of the length.
    """

    times: str
    where: str
    begin_s: float
    end_s: float
    left: float
    width: float


@dataclass(frozen=True, slots=True)
class Need:
    """Something to look at, and what to do about it.

    Attributes:
        override: for the settings file, as YAML; empty where no setting helps.
        redo: a command that tries the same on a finished video; empty where there is none.
        flags: by time, where it is about flags.
    """

    symbol: str
    words: str
    advice: str
    override: str = ""
    redo: str = ""
    flags: tuple[FlagLine, ...] = ()


def reasons(video: VideoReport) -> Iterator[str]:
    """Why a video deserves a look, in a few words each."""
    if video.error is not None:
        yield video.result
    for doubt in video.doubts:
        yield f"doubtful: {printable(doubt.seen)}"
    if video.left_out:
        yield _left_out(video)
    for kind, flags in _by_kind(video).items():
        words = FLAGS[kind][1]
        yield f"{words} ({counted(len(flags), 'place')})" if len(flags) > 1 else words
    if video.concealed_frames:
        yield _concealed(video)
    yield from _cut_off(video)


def needs(video: VideoReport) -> Iterator[Need]:
    """The same at length."""
    facts = video.facts
    model, layout = (facts.model, facts.layout) if facts else ("", "mono")
    if video.error is not None:
        yield Need("✕", printable(video.error.message), printable(video.error.advice))
    for doubt in video.doubts:
        tried = Advice(printable(doubt.advice), doubt_values(doubt.kind, model, layout))
        yield _need(video, "?", f"Doubtful: {printable(doubt.seen)}", tried)
    if video.left_out:
        made = tuple(output.deliverable for output in video.outputs)
        yield _need(video, "!", _left_out(video), left_out_advice(video.left_out, made))
    for kind, flags in _by_kind(video).items():
        eyes = {flag.eye for flag in flags}
        right_is_wrong = None if len(eyes) > 1 or None in eyes else eyes == {1}
        advice = flag_advice(kind, model, right_is_wrong)
        if kind in ("jump", "flicker") and any(_at_a_border(video, flag) for flag in flags):
            both = {**advice.values, **AT_A_BORDER.values}
            advice = Advice(f"{advice.words} {AT_A_BORDER.words}", both)
        symbol, words = FLAGS[kind]
        lines = tuple(_line(video, flag) for flag in flags)
        yield _need(video, symbol, words, advice, lines)
    if video.concealed_frames:
        yield _need(video, "!", _concealed(video), DAMAGED)
    for note in _cut_off(video):
        yield _need(video, "!", note, DAMAGED)


def _need(
    video: VideoReport, symbol: str, words: str, advice: Advice, flags: tuple[FlagLine, ...] = ()
) -> Need:
    override = override_text(video.name, advice.values) if advice.values else ""
    redo = redo_text(video.name, advice.values, _part(flags)) if video.outputs else ""
    return Need(symbol, words, advice.words, override, redo, flags)


def _part(flags: tuple[FlagLine, ...]) -> tuple[float, float] | None:
    """From the first flag's begin to the last one's end; None: the whole video."""
    if not flags or any(flag.times == WHOLE for flag in flags):
        return None
    return min(flag.begin_s for flag in flags), max(flag.end_s for flag in flags)


def _by_kind(video: VideoReport) -> dict[FlagKind, list[TimedFlag]]:
    """Flags by kind, those of most places first; each kind by time."""
    found: dict[FlagKind, list[TimedFlag]] = {}
    for flag in video.flags[:MOST_FLAGS]:
        found.setdefault(flag.kind, []).append(flag)
    return dict(sorted(found.items(), key=lambda pair: -len(pair[1])))


def _left_out(video: VideoReport) -> str:
    names = " and ".join(printable(name) for name in video.left_out)
    return f"{names} cannot be made of it"


def _concealed(video: VideoReport) -> str:
    return f"{counted(video.concealed_frames, 'frame')} could not be decoded"


def _cut_off(video: VideoReport) -> Iterator[str]:
    yield from (printable(note) for note in video.notes if note.startswith(CUT_OFF))


def _at_a_border(video: VideoReport, flag: TimedFlag) -> bool:
    borders = video.segment_starts[1:]
    first, last = flag.first_frame - _NEAR_FRAMES, flag.last_frame + _NEAR_FRAMES
    return any(first <= border <= last for border in borders)


def _line(video: VideoReport, flag: TimedFlag) -> FlagLine:
    facts = video.facts
    first, rate = (facts.first_frame, facts.frame_rate) if facts else (0, 1.0)
    begin_s = max(0, flag.first_frame - first) / rate
    end_s = max(0, flag.last_frame + 1 - first) / rate
    whole_s = max(video.frames / rate, end_s, 1e-6)
    times = precise(begin_s)
    if begin_s == 0 and video.frames and flag.last_frame + 1 - first >= video.frames:
        times = WHOLE
    elif end_s - begin_s >= 0.1:
        times = f"{times} to {precise(end_s)}"
    edge = at_the_edge(flag).strip() if flag.side else ""
    return FlagLine(
        times=times,
        where=", ".join(filter(None, (edge, _EYES[flag.eye]))),
        begin_s=round(begin_s, 3),
        end_s=round(end_s, 3),
        left=round(100 * begin_s / whole_s, 2),
        width=round(100 * (end_s - begin_s) / whole_s, 2),
    )
