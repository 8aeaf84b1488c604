"""Frames on demand: whatever the order of access, whoever asks, never more than are kept."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sam2.utils.misc import load_video_frames
from torch import Tensor

from pipeline.errors import DecodeError
from pipeline.source.decode import FrameReader
from pipeline.source.timing.frame_index import FrameIndex
from pipeline.source.video_info import read_video
from pipeline.stages.matting.sam2.frames import EyePictures, LazyFrames
from tests.clips import X264, ClipSpec, read_number

SIZE = 4


class Source:
    """Frames that are their own number, and an account of the reading."""

    def __init__(self, num_frames: int) -> None:
        self.num_frames = num_frames
        self.times_read: Counter[int] = Counter()
        self.longest = 0
        self.after_each: Callable[[], None] = lambda: None
        self._alone = threading.Lock()

    def __call__(self, start: int, stop: int) -> Iterator[Tensor]:
        assert 0 <= start < stop <= self.num_frames
        assert self._alone.acquire(blocking=False), "two threads read at once"
        try:
            self.longest = max(self.longest, stop - start)
            for frame in range(start, stop):
                self.times_read[frame] += 1
                yield torch.full((3, SIZE, SIZE), frame, dtype=torch.uint8)
                self.after_each()
        finally:
            self._alone.release()


def lazy(source: Source, kept_frames: int, read_ahead: int) -> LazyFrames:
    return LazyFrames(
        source, source.num_frames, SIZE, kept_frames=kept_frames, read_ahead=read_ahead
    )


def number_of(image: Tensor) -> int:
    """Which frame of a `Source` this is."""
    assert image.dtype == torch.float32
    assert image.shape == (3, SIZE, SIZE)
    mean = torch.tensor([0.485, 0.456, 0.406])
    std = torch.tensor([0.229, 0.224, 0.225])
    levels = (image * std[:, None, None] + mean[:, None, None]) * 255
    assert (levels - levels.round()).abs().max() < 1e-3
    (number,) = set(levels.round().flatten().tolist())
    return int(number)


sizes = st.integers(1, 12).flatmap(lambda kept: st.tuples(st.just(kept), st.integers(1, kept)))


@given(sizes, st.lists(st.integers(0, 39), max_size=60))
def test_any_order_of_access_gives_the_right_frames(
    sizes: tuple[int, int], order: list[int]
) -> None:
    kept_frames, read_ahead = sizes
    source = Source(40)
    frames = lazy(source, kept_frames, read_ahead)
    most_kept = 0

    def look() -> None:
        nonlocal most_kept
        most_kept = max(most_kept, frames.num_kept)

    source.after_each = look
    for frame in order:
        assert number_of(frames[frame]) == frame
        look()
    assert most_kept <= kept_frames
    assert source.longest <= read_ahead
    assert frames.hits + frames.misses == len(order)
    assert frames.frames_read == source.times_read.total()
    frames.clear()
    assert frames.num_kept == 0


@given(sizes, st.booleans())
def test_one_way_through_reads_each_frame_once(sizes: tuple[int, int], reverse: bool) -> None:
    kept_frames, read_ahead = sizes
    source = Source(40)
    frames = lazy(source, kept_frames, read_ahead)
    for frame in range(40)[:: -1 if reverse else 1]:
        assert number_of(frames[frame]) == frame
    # The first access has no direction yet: going back, nothing follows it.
    assert source.times_read == Counter(range(40))
    alone = 1 if reverse else 0
    assert frames.misses == alone + -(-(40 - alone) // read_ahead)


@given(st.lists(st.permutations(range(24)), min_size=2, max_size=4), st.integers(1, 24))
def test_threads_get_the_right_frames_and_read_none_twice(
    orders: list[list[int]], read_ahead: int
) -> None:
    source = Source(24)
    frames = lazy(source, 24, read_ahead)
    together = threading.Barrier(len(orders))

    def visit(order: list[int]) -> list[int]:
        together.wait()
        return [number_of(frames[frame]) for frame in order]

    with ThreadPoolExecutor(len(orders)) as pool:
        for order, seen in zip(orders, pool.map(visit, orders), strict=True):
            assert seen == order
    assert source.times_read == Counter(range(24))


def test_threads_share_a_cache_too_small_for_them() -> None:
    frames = lazy(Source(40), 3, 2)
    orders = [list(range(40)), list(range(39, -1, -1)), list(range(0, 40, 7)) * 3]

    def visit(order: list[int]) -> list[int]:
        return [number_of(frames[frame]) for frame in order]

    with ThreadPoolExecutor(len(orders)) as pool:
        assert list(pool.map(visit, orders)) == orders
    assert frames.num_kept <= 3


def test_a_frame_that_is_kept_is_had_while_another_is_read() -> None:
    source = Source(40)
    frames = lazy(source, 8, 1)
    assert number_of(frames[5]) == 5
    begun, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert go_on.wait(timeout=60)

    source.after_each = hold
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(frames.__getitem__, 9)
        assert begun.wait(timeout=60)
        assert number_of(frames[5]) == 5
        go_on.set()
        assert number_of(reading.result(timeout=60)) == 9


def test_frames_that_are_not_there() -> None:
    frames = lazy(Source(40), 8, 4)
    assert len(frames) == 40
    for frame in (-1, 40):
        with pytest.raises(IndexError, match=f"frame {frame} of a video of 40"):
            frames[frame]
    with pytest.raises(ValueError, match="read_ahead 9"):
        lazy(Source(40), 8, 9)


def test_after_an_error_frames_are_read_again() -> None:
    source = Source(40)
    frames = lazy(source, 8, 4)

    def fail() -> None:
        raise DecodeError("damaged")

    source.after_each = fail
    with pytest.raises(DecodeError, match="damaged"):
        frames[10]
    source.after_each = lambda: None
    assert [number_of(frames[frame]) for frame in (10, 11)] == [10, 11]


def test_a_reader_that_gives_too_few_is_an_error() -> None:
    frames = LazyFrames(lambda start, stop: iter(()), 10, SIZE)
    with pytest.raises(ValueError, match="zip"):
        frames[0]


def test_pictures_are_as_the_stock_loader_gives_them(tmp_path: Path) -> None:
    """Every level bit for bit; where it shrinks them, within a level."""
    levels = torch.arange(256, dtype=torch.uint8).reshape(16, 16)
    exact = torch.stack([levels, levels.flip(0), levels.T])
    noise = torch.randint(0, 256, (3, 70, 90), generator=torch.Generator().manual_seed(1))
    larger = noise.to(torch.uint8)
    for number, picture in enumerate((exact, larger)):
        content = np.ascontiguousarray(picture.permute(1, 2, 0).numpy())
        with (tmp_path / f"{number}.jpg").open("wb") as file:
            Image.fromarray(content).save(file, format="PNG")  # the loader looks at names only
    stock, _, _ = load_video_frames(str(tmp_path), 16, offload_video_to_cpu=True)
    frames = LazyFrames(lambda start, stop: [exact, larger][start:stop], 2, 16)
    assert torch.equal(frames[0], stock[0])
    assert (frames[1] - stock[1]).abs().max() <= 1.01 / 255 / 0.224


def test_one_eye_of_a_file(clip: Callable[[ClipSpec], Path], tmp_path: Path) -> None:
    """Forward, back and across a jump, through the real decoder."""
    video = read_video(clip(ClipSpec("sam2_LR.mp4", X264)), tmp_path / "index.json", None)
    reader = FrameReader(video, FrameIndex.load(tmp_path / "index.json"), torch.device("cpu"))
    pictures = EyePictures(reader, video, eye=1)
    for start, stop in ((0, 4), (4, 6), (6, 7), (20, 23), (17, 20), (47, 50)):
        for frame, picture in zip(range(start, stop), pictures(start, stop), strict=True):
            red, _, blue = picture[:, -24, 100].tolist()
            assert blue > red  # the right eye's bar
            assert read_number(picture.permute(1, 2, 0).numpy()) == frame
    frames = LazyFrames(pictures, video.num_frames, 32, kept_frames=16)
    forward = {frame: frames[frame] for frame in range(video.num_frames)}
    for frame in reversed(range(video.num_frames)):
        assert torch.equal(frames[frame], forward[frame])
