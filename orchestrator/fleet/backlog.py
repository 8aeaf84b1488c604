"""The backlog: tasks that wait for a worker, in each worker's order. Knows no worker's state.

Every event asks for the next task, so nothing here walks over all videos unless all are wanted.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from itertools import chain, groupby

from orchestrator.fleet.video import Video


class Backlog:
    """The videos of which tasks wait; `note` must hear of every change of `Video.pending`."""

    def __init__(self) -> None:
        self._turns: dict[Video, int] = {}
        self._frames: dict[Video, int] = {}
        self._tasks: dict[Video, int] = {}
        self._left: dict[int, int] = {}
        # By home: videos with segments that wait, and those to be joined, by their turns.
        self._to_do: dict[int, list[Video]] = {}
        self._to_join: dict[int, list[Video]] = {}
        self._new_joining: Video | None = None
        self.tasks = 0

    def note(self, video: Video) -> None:
        """Take notice of what waits of `video` now."""
        turn = self._turns.setdefault(video, len(self._turns))
        frames, tasks = video.frames_pending, len(video.pending)
        home = video.home
        self._left[home] = self._left.get(home, 0) + frames - self._frames.get(video, 0)
        self.tasks += tasks - self._tasks.get(video, 0)
        self._frames[video], self._tasks[video] = frames, tasks
        joins = bool(tasks) and not video.segments_left
        self._place(self._to_do, video, turn, bool(tasks) and not joins)
        if self._place(self._to_join, video, turn, joins):
            self._new_joining = video

    def in_order(self, home: int, *, joining_only: bool) -> Iterator[Video]:
        """Finishing first, then its own videos, then the last ones of who has most left.

        Args:
            home: the worker that asks.
            joining_only: it has no lane free.
        """
        to_join = self._of(self._to_join, home) if self._to_join else ()
        return iter(to_join) if joining_only else chain(to_join, self._of(self._to_do, home))

    def has_new_joining(self) -> bool:
        """Whether a video has come to be joined since this was last asked, and still waits."""
        video, self._new_joining = self._new_joining, None
        return video is not None and bool(video.pending) and not video.segments_left

    def _of(self, waiting: dict[int, list[Video]], home: int) -> Iterator[Video]:
        # Lazily: mostly the first one will do. Nothing is noted while somebody looks.
        yield from waiting.get(home, ())
        left = self._left
        others = sorted((h for h in waiting if h != home), key=lambda h: -left[h])
        for _, homes in groupby(others, key=left.__getitem__):
            videos = [video for h in homes for video in waiting[h]]
            yield from sorted(videos, key=self._turns.__getitem__, reverse=True)

    def _place(
        self, waiting: dict[int, list[Video]], video: Video, turn: int, wanted: bool
    ) -> bool:
        """Put it in its place or take it away; whether it is there now and was not before."""
        videos = waiting.get(video.home, [])
        at = bisect_left(videos, turn, key=self._turns.__getitem__)
        there = at < len(videos) and videos[at] is video
        if wanted and not there:
            insort(waiting.setdefault(video.home, []), video, key=self._turns.__getitem__)
        elif there and not wanted:
            del videos[at]
            if not videos:
                del waiting[video.home]
        return wanted and not there
