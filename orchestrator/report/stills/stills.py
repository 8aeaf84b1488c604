"""Which frames of a video the page shows, and their pictures, which a child process makes.

A picture is a few kilobytes of WebP in memory, as text for a data URI: nothing touches a disk.
The child has a deadline and limits of its own, as the probe has.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

from orchestrator.report.report import VideoReport
from orchestrator.report.stills.draw_request import DrawRequest
from pipeline.contract import OutputFile, VideoInfo
from pipeline.deliverables.format import parted
from pipeline.deliverables.formats import FORMATS
from pipeline.files.child import own_module, tied

#: Frames shown of a video at the most, and where nothing was flagged: these shares of its length.
MOST_MOMENTS = 4
_SHARES = ((0.1, "near the beginning"), (0.5, "in the middle"), (0.9, "near the end"))

#: Of films the first of these is shown, by where alpha is: what can be seen of it comes first.
_SHOWN_FIRST = ("plane", "grey", None, "layer", "packed")

#: What goes first where a video has more flags than frames are shown.
_FLAGS_FIRST = ("empty", "jump", "eyes_disagree", "touches_edge", "flicker")

#: Text of one picture at the most, in bytes; one of 480 x 480 pixels has 60 kB at the worst.
_MOST_BYTES = 400_000


@dataclass(frozen=True, slots=True)
class Moment:
    """A frame that is shown.

    Attributes:
        frame: of the outputs, from 0.
        why: in words.
    """

    frame: int
    why: str


@dataclass(frozen=True, slots=True)
class Pictures:
    """One frame in pictures: WebP in base64; empty where one could not be made.

    Attributes:
        frame: of the outputs, from 0.
        result: with alpha where the output has it.
        size: width and height of each, in pixels.
        thumb: the left eye, small; of one frame of a video.
        edge: an edge of the result at full resolution; likewise (`stills.draw.edge_crop`).
    """

    frame: int
    source: str
    matte: str
    result: str
    size: tuple[int, int]
    thumb: str = ""
    edge: str = ""

    @property
    def num_bytes(self) -> int:
        return sum(map(len, (self.source, self.matte, self.result, self.thumb, self.edge)))


def moments(video: VideoReport) -> tuple[Moment, ...]:
    """The frames that are shown, ascending: flagged ones, of every kind first, or else some of
    all parts."""
    facts, last = video.facts, video.frames - 1
    if facts is None or last < 0:
        return ()
    found: dict[int, str] = {}
    by_kind = sorted(
        video.flags,
        key=lambda flag: (
            sum(f.kind == flag.kind and f.first_frame < flag.first_frame for f in video.flags),
            _FLAGS_FIRST.index(flag.kind),
        ),
    )
    for flag in by_kind:
        # What has jumped is seen after the jump; all else is at its clearest in the middle.
        middle = (flag.first_frame + flag.last_frame) // 2
        frame = flag.last_frame if flag.kind == "jump" else middle
        frame = min(max(0, frame - facts.first_frame), last)
        if len(found) < MOST_MOMENTS:
            found.setdefault(frame, flag.kind)
    if not found:
        found = {int(share * last): where for share, where in reversed(_SHARES)}
    return tuple(Moment(frame, found[frame]) for frame in sorted(found))


def shown_output(video: VideoReport) -> OutputFile | None:
    """The film that is played, and drawn; None: there is none, or its format is not known here."""
    by_name = {output.deliverable: output for output in video.outputs}
    first = shown_format(by_name)
    return None if first is None else by_name[first]


def shown_format(names: Collection[str]) -> str | None:
    """Which of these formats is shown; None: none is a film that is known here."""
    order = FORMATS.names()
    known = [row for name in names if name in FORMATS and (row := FORMATS.get(name))]
    known.sort(key=lambda row: order.index(parted(row.name)[0]))
    films = [row for row in known if row.is_film]
    first = min(films, key=lambda row: _SHOWN_FIRST.index(row.alpha), default=None)
    return None if first is None else first.name


def draw_request(video: VideoReport, info: VideoInfo, deadline_s: float) -> DrawRequest | None:
    """None where there is nothing that could be shown."""
    output, shown = shown_output(video), moments(video)
    if output is None or not shown or video.facts is None:
        return None
    is_packed = FORMATS[output.deliverable].alpha == "packed"
    return DrawRequest(
        source=info.path if info.stored is None else "",
        stream=info.stream,
        begin_s=info.begin_s,
        rotation=info.rotation,
        crop=info.crop,
        mirrored=info.mirrored,
        right_stream=info.right_stream,
        frame_rate=video.facts.frame_rate,
        every=video.facts.every,
        first_frame=video.facts.first_frame,
        output=output.path,
        is_matte=FORMATS[output.deliverable].alpha == "grey",
        frames=tuple(moment.frame for moment in shown),
        most_cpu_s=int(deadline_s) + 10,
        layout="sbs" if is_packed else video.facts.layout,
        right_first=video.facts.right_first and not is_packed,
    )


def segment_request(
    video: VideoReport, path: str, deliverable: str, deadline_s: float
) -> DrawRequest | None:
    """For a thumbnail of the first frame of a segment's file; None where nothing is known of it."""
    row, facts = FORMATS.get(deliverable), video.facts
    if row is None or facts is None:
        return None
    is_packed = row.alpha == "packed"
    return DrawRequest(
        source="",
        stream=0,
        begin_s=0.0,
        rotation=0,
        frame_rate=facts.frame_rate,
        every=1,
        first_frame=0,
        output=path,
        is_matte=row.alpha == "grey",
        frames=(0,),
        most_cpu_s=int(deadline_s) + 10,
        layout="sbs" if is_packed else facts.layout,
        right_first=facts.right_first and not is_packed,
    )


def draw(request: DrawRequest, deadline_s: float) -> tuple[Pictures, ...]:
    """Have the pictures made; those that were ready when the deadline came.

    The child dies with the thread that calls. Nothing is raised for what cannot be drawn.
    """
    asked = json.dumps(asdict(request))
    command, environment = own_module("orchestrator.report.stills.draw", asked)
    # A file in memory, not a pipe: a child that babbles fills neither, for its limits are small.
    with open(os.memfd_create("pictures"), "w+b") as answer:  # noqa: PTH123
        try:
            child = subprocess.Popen(
                tied(command),
                stdin=subprocess.DEVNULL,
                stdout=answer,
                stderr=subprocess.DEVNULL,
                env=environment | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            )
        except OSError:
            return ()
        try:
            with suppress(subprocess.TimeoutExpired):
                child.wait(deadline_s)
        finally:
            child.kill()
            child.wait()
        answer.seek(0)
        lines = answer.read(MOST_MOMENTS * 5 * _MOST_BYTES + 1000).splitlines(keepends=True)
    return tuple(_read(line, request.frames) for line in lines if line.endswith(b"\n"))


def _read(line: bytes, frames: Sequence[int]) -> Pictures:
    """One line of the child's; it has read files of others' making, so nothing of it is believed.

    Raises:
        ValueError: it is not what the child writes.
    """
    said = json.loads(line)
    parts = [said[name] for name in ("source", "matte", "result", "thumb", "edge")]
    for part in parts:
        if not isinstance(part, str) or len(part) > _MOST_BYTES or not _is_base64(part):
            raise ValueError("no picture")
    if said["frame"] not in frames:
        raise ValueError("a frame that was not asked for")
    source, matte, result, thumb, edge = parts
    width, height = (int(side) for side in said["size"])
    return Pictures(int(said["frame"]), source, matte, result, (width, height), thumb, edge)


def _is_base64(text: str) -> bool:
    return text.isascii() and all(c.isalnum() or c in "+/=" for c in text)
