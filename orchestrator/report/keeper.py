"""Keeps ``report.html``: a child process of the run that writes the page again and again.

It outlives the leading process by a moment: when its line is cut off without a last word it writes
that the run ended without one. Nothing that happens here is the run's trouble.
"""

from __future__ import annotations

import os
import pickle
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import IO

from orchestrator.exit_status import STOPPED
from orchestrator.report.cards import look_order
from orchestrator.report.newest import NewestSegment
from orchestrator.report.page import Album, render
from orchestrator.report.report import VideoReport
from orchestrator.report.state import PageState
from orchestrator.report.stills.reuse import Kept, kept_pictures, picture_key
from orchestrator.report.stills.stills import Pictures, draw, draw_request, segment_request
from pipeline.contract import VideoInfo
from pipeline.errors import DiskError
from pipeline.files.disk import write_file

#: Of all pictures on a page, as text. A video's are some 100 kB.
ROOM_BYTES = 20_000_000

#: For one video's pictures; at 8K a frame far behind a keyframe takes most of a minute.
DRAW_S = 240.0

#: For the thumbnail of a video in work: the most that one takes, and how often one is made.
LATEST_S = 60.0
LATEST_EVERY_S = 30.0

#: What is left to be drawn when the run has ended may take so long.
LAST_DRAW_S = 60.0

#: A page is written at most so often, and no faster than this on average: OUT may be far away.
WRITE_S = 4.0
WRITE_BYTES_PER_S = 1_000_000

#: Share of the time that the keeper may be at work: a page of 500 videos takes it a second.
MOST_BUSY = 0.1

_HEAD = struct.Struct("<Q")

Draw = Callable[[VideoReport, VideoInfo], tuple[Pictures, ...]]
DrawLatest = Callable[[VideoReport, NewestSegment], tuple[Pictures, ...]]


def send_state(line: IO[bytes], state: PageState, infos: dict[str, VideoInfo]) -> None:
    """Send how the run stands, with what the probe said of videos that were not told before."""
    body = pickle.dumps((state, infos))
    line.write(_HEAD.pack(len(body)) + body)
    line.flush()


def sent_states(line: IO[bytes]) -> Iterator[tuple[PageState, dict[str, VideoInfo]]]:
    """What `send_state` sent, until the line ends, wherever it does."""
    while len(head := line.read(_HEAD.size)) == _HEAD.size:
        body = line.read(_HEAD.unpack(head)[0])
        if len(body) < _HEAD.unpack(head)[0]:
            return
        yield pickle.loads(body)  # by our own parent


def draw_video(video: VideoReport, info: VideoInfo) -> tuple[Pictures, ...]:
    """The pictures of one video; none where they cannot be made."""
    request = draw_request(video, info, DRAW_S)
    return () if request is None else draw(request, DRAW_S)


def draw_latest(video: VideoReport, newest: NewestSegment) -> tuple[Pictures, ...]:
    """A thumbnail of a video in work; none where it cannot be made."""
    request = segment_request(video, newest.path, newest.deliverable, LATEST_S)
    return () if request is None else draw(request, LATEST_S)


class Gallery:
    """Pictures of the videos that are done, made one video after another in a thread.

    When there are none to make, it makes a thumbnail of a video in work now and then.

    Args:
        room_bytes: when so much text is there no more is made.
        kept: pictures of an earlier page.
    """

    def __init__(
        self,
        draw: Draw = draw_video,
        room_bytes: int = ROOM_BYTES,
        kept: Kept | None = None,
        draw_latest: DrawLatest = draw_latest,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._draw = draw
        self._draw_latest = draw_latest
        self._clock = clock
        kept = kept or Kept()
        self._kept = dict(kept.pictures)
        self._kept_latest = dict(kept.latest)
        self._room_bytes = room_bytes
        self._infos: dict[str, VideoInfo] = {}
        self._made: dict[str, tuple[Pictures, ...]] = {}
        self._failed: set[str] = set()
        self._thread = ThreadPoolExecutor(1, "pictures")
        self._in_hand: tuple[str, Future[tuple[Pictures, ...]]] | None = None
        self._latest: dict[str, str] = {}
        self._latest_of: dict[str, int] = {}
        self._latest_in_hand = False
        self._next_latest_at = float("-inf")

    def album(self, state: PageState, infos: dict[str, VideoInfo]) -> Album:
        """What is there; and let the next be made, of those that deserve a look first."""
        self._infos.update(infos)
        self._collect(0.0)
        wanted = [
            video
            for video in look_order(state)
            if video.outputs and video.id in self._infos and video.id not in self._failed
        ]
        for video in wanted:
            if self._kept and (known := self._kept.pop(picture_key(video), None)):
                self._made[video.id] = known
        if self._kept_latest:
            for video in state.report.videos:
                if video.frames_done and not video.outputs:
                    known_latest = self._kept_latest.pop(picture_key(video), None)
                    if known_latest is not None:
                        self._latest.setdefault(video.id, known_latest)
        missing = [video for video in wanted if video.id not in self._made]
        pictures = sum(p.num_bytes for made in self._made.values() for p in made)
        full = pictures + sum(map(len, self._latest.values())) >= self._room_bytes
        self._latest = {id: t for id, t in self._latest.items() if id not in self._made}
        latest = dict(self._latest)
        if full:
            return Album(dict(self._made), left_out=len(missing), latest=latest)
        if self._in_hand is None and missing:
            video = missing[0]
            info = self._infos[video.id]
            self._latest_in_hand = False
            self._in_hand = video.id, self._thread.submit(self._draw, video, info)
        elif self._in_hand is None and state.ending is None:
            self._begin_latest(state)
        return Album(dict(self._made), awaited=len(missing), latest=latest)

    def _begin_latest(self, state: PageState) -> None:
        """Let the video be drawn whose thumbnail is the oldest, if it has a newer segment."""
        if self._clock() < self._next_latest_at:
            return
        drawn = self._latest_of  # the oldest first
        due = [id for id, newest in state.newest.items() if drawn.get(id) != newest.number]
        if not due:
            return
        order = list(drawn)
        id = min(due, key=lambda id: order.index(id) if id in order else -1)
        video = next((video for video in state.report.videos if video.id == id), None)
        if video is None:
            return
        drawn.pop(id, None)
        drawn[id] = state.newest[id].number
        self._next_latest_at = self._clock() + LATEST_EVERY_S
        self._latest_in_hand = True
        self._in_hand = id, self._thread.submit(self._draw_latest, video, state.newest[id])

    def wait(self, seconds: float) -> None:
        """Wait for what is in hand."""
        self._collect(seconds)

    def _collect(self, seconds: float) -> None:
        if self._in_hand is None:
            return
        video, future = self._in_hand
        try:
            made = future.result(seconds)
        except TimeoutError:
            return
        except Exception:  # pictures for people: the page goes on without them
            made = ()
        self._in_hand = None
        if self._latest_in_hand:
            self._latest_in_hand = False
            if made and made[0].thumb:
                self._latest[video] = made[0].thumb
        elif made:
            self._made[video] = made
        else:
            self._failed.add(video)


def keep(
    line: IO[bytes],
    write: Callable[[str, bool], None],
    gallery: Gallery,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Write the page until the line ends, and once more then.

    Args:
        write: the page; and whether it is to last.
    """
    state = None
    next_at = float("-inf")
    for state, infos in sent_states(line):
        album = gallery.album(state, infos)
        if state.ending is None and clock() >= next_at:
            begun = clock()
            text = render(state, album)
            write(text, False)
            took_s = clock() - begun
            next_at = clock() + max(WRITE_S, len(text) / WRITE_BYTES_PER_S, took_s / MOST_BUSY)
        if state.ending is not None:
            _write_last(state, write, gallery, clock)
            return
    if state is not None:
        now = datetime.now().astimezone()
        ended = replace(state, ending="without a word", now=now, doing=())
        write(render(ended, _given_up(gallery.album(ended, {}))), False)


def _write_last(
    state: PageState,
    write: Callable[[str, bool], None],
    gallery: Gallery,
    clock: Callable[[], float],
) -> None:
    """At once, and again with the pictures that were still to be made."""
    deadline = clock() + LAST_DRAW_S
    album = gallery.album(state, {})
    # Whoever stopped the run does not wait for pictures.
    if not album.awaited or state.report.exit_status == STOPPED:
        write(render(state, _given_up(album)), True)
        return
    write(render(state, album), True)
    while album.awaited and clock() < deadline:
        gallery.wait(max(0.0, deadline - clock()))
        album = gallery.album(state, {})
    write(render(state, _given_up(album)), True)


def _given_up(album: Album) -> Album:
    """The album when nobody makes what it awaits."""
    return replace(album, awaited=0, not_made=album.awaited)


def write_page(path: Path, text: str, lasting: bool) -> None:
    """Write a page whole or not at all.

    Only one that is to last is forced to the disk: during a run the next one follows in seconds.

    Raises:
        OSError, DiskError: it cannot be written.
    """
    if lasting:
        write_file(path, text.encode("utf-8", "replace"))
        return
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        draft.write_bytes(text.encode("utf-8", "replace"))
        draft.replace(path)
    except OSError:
        with suppress(OSError):
            draft.unlink()
        raise


def main(path: str) -> None:
    # Signals of a terminal are for the run; this ends when the run does.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)

    def write(text: str, lasting: bool) -> None:
        with suppress(OSError, DiskError):  # the run itself meets the disk's troubles
            write_page(Path(path), text, lasting)

    keep(sys.stdin.buffer, write, Gallery(kept=kept_pictures(Path(path))))
    sys.stdout.flush()
    os._exit(0)  # what is still being drawn dies with its thread


if __name__ == "__main__":
    main(*sys.argv[1:])
