"""Simulate the rest of a run: the seconds that the workers need for it if all goes well.

It follows the fleet's order (`orchestrator/fleet/fleet.py`): a worker takes the segments of its own
videos one after the other, then those of the worker with most left; joining waits for a video's
last segment and runs beside others. Knows no snapshot and no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

#: More segments than that are not walked through one by one: what matters is how it ends.
MOST_PIECES = 400


@dataclass(slots=True)
class VideoAhead:
    """What is left of one video.

    Attributes:
        home: the worker that takes its segments first.
        waiting: the work of each segment that nobody has in hand, in order.
        in_hand: how many are in the hands of workers.
        joining_s: how long the joining of its segments will take, or go on.
    """

    home: int
    waiting: list[float]
    in_hand: int = 0
    joining_s: float = 0.0


@dataclass(slots=True)
class WorkerAhead:
    """One worker.

    Attributes:
        lanes: segments that it takes at once.
        speed: 1 for a worker like the others.
        ready_s: when it can take work, from now.
        in_hand: video and work left of each segment that it has.
    """

    lanes: int
    speed: float = 1.0
    ready_s: float = 0.0
    in_hand: list[tuple[int, float]] = field(default_factory=list)


def seconds_left(
    workers: Sequence[WorkerAhead], videos: Sequence[VideoAhead], gain: float = 1.0
) -> float:
    """Seconds until the last video is joined.

    Work is measured in seconds of a lane while all lanes are busy. Lanes that share a machine go
    faster when others have nothing to do.

    Args:
        workers: at least one; changed by this, as `videos` is.
        gain: how much faster a lane goes, at the most, when it is alone. With n of N lanes busy it
            is N/n times, if that is less.
    """
    lanes = sum(worker.lanes for worker in workers)
    now = _all_busy_s(workers, videos)
    end = max((video.joining_s for video in videos if _only_joined(video)), default=0.0)
    # No more than MOST_PIECES, however many videos there are.
    waiting = [number for number, video in enumerate(videos) if video.waiting]
    while True:
        _give_out(workers, videos, waiting, now)
        waiting = [number for number in waiting if videos[number].waiting]
        busy = sum(len(worker.in_hand) for worker in workers)
        boost = min(gain, lanes / busy) if busy else 1.0
        coming = [work / (worker.speed * boost) for worker in workers for _, work in worker.in_hand]
        if waiting:
            coming += [worker.ready_s - now for worker in workers if worker.ready_s > now]
        if not coming:
            return max(end, now)
        step = min(coming)
        now += step
        for worker in workers:
            left = [(video, work - step * worker.speed * boost) for video, work in worker.in_hand]
            worker.in_hand = [(video, work) for video, work in left if work > 1e-9]
            for number, work in left:
                if work > 1e-9:
                    continue
                video = videos[number]
                video.in_hand -= 1
                if not video.in_hand and not video.waiting:
                    end = max(end, now + video.joining_s)


def _only_joined(video: VideoAhead) -> bool:
    return not video.waiting and not video.in_hand


def _all_busy_s(workers: Sequence[WorkerAhead], videos: Iterable[VideoAhead]) -> float:
    """Take away what is too much to be walked through; the seconds of all lanes that it is."""
    surplus = sum(len(video.waiting) for video in videos) - MOST_PIECES
    work = 0.0
    for video in videos:
        if surplus <= 0:
            break
        taken = min(surplus, len(video.waiting))
        work += sum(video.waiting[:taken])
        del video.waiting[:taken]
        surplus -= taken
    return work / sum(worker.lanes * worker.speed for worker in workers)


def _give_out(
    workers: Sequence[WorkerAhead],
    videos: Sequence[VideoAhead],
    waiting: Sequence[int],
    now: float,
) -> None:
    """One segment for each worker that has room, who has least first, until nobody takes one."""
    given = True
    while given:
        given = False
        for number in sorted(range(len(workers)), key=lambda n: len(workers[n].in_hand)):
            worker = workers[number]
            if worker.ready_s > now or len(worker.in_hand) >= worker.lanes:
                continue
            place = _next_video(number, videos, waiting)
            if place is None:
                return
            worker.in_hand.append((place, videos[place].waiting.pop(0)))
            videos[place].in_hand += 1
            given = True


def _next_video(worker: int, videos: Sequence[VideoAhead], waiting: Sequence[int]) -> int | None:
    left: dict[int, int] = {}
    last: dict[int, int] = {}
    for number in waiting:
        video = videos[number]
        if not video.waiting:
            continue
        if video.home == worker:
            return number
        left[video.home] = left.get(video.home, 0) + len(video.waiting)
        last[video.home] = number
    return last[max(left, key=lambda home: left[home])] if left else None
