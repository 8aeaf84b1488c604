"""`overlap`: put between two generators, it gives the first a thread of its own.

Bounded, so that memory is; closes from either end; an exception comes out where the item would
have. It knows nothing of frames.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from threading import Condition, Thread
from typing import Generic, TypeVar

T = TypeVar("T")


def overlap(
    source: Iterator[T], depth: int, *, on_thread: Callable[[], None] = lambda: None
) -> Generator[T, None, None]:
    """Yield what `source` yields, in order, while it works up to `depth` items ahead.

    Closing this generator (or an exception in its consumer) closes `source` in its own thread and
    waits for it.

    Args:
        depth: 0 works nothing ahead, in the consumer's own thread.
        on_thread: called first in the new thread, for what PyTorch keeps per thread.
    """
    if depth == 0:
        yield from source
        return
    channel: _Channel[T] = _Channel(depth)

    def produce() -> None:
        failure: BaseException | None = None
        try:
            on_thread()
            for item in source:
                if not channel.put(item):
                    break
                del item  # the next one is made: it must not be held beside that
        except BaseException as error:  # carried to the consumer, which raises it
            failure = error
        try:
            close = getattr(source, "close", None)
            if close is not None:
                close()
        except BaseException as error:
            failure = failure or error
        channel.end(failure)

    thread = Thread(target=produce, name="overlap", daemon=True)
    thread.start()
    try:
        while (item := channel.get()) is not None:
            yield item[0]
            del item
    finally:
        channel.close()
        thread.join()


class _Channel(Generic[T]):
    """A bounded queue that either side can shut."""

    def __init__(self, depth: int) -> None:
        self._items: deque[T] = deque()
        self._depth = depth
        self._changed = Condition()
        self._closed = False
        self._ended = False
        self._failure: BaseException | None = None

    def put(self, item: T) -> bool:
        """False when the consumer is gone."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._items) < self._depth)
            if self._closed:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def get(self) -> tuple[T] | None:
        """The next item in a tuple, or None at the end; raises what ended the producer."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._items)
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return (item,)
            if self._failure is not None:
                raise self._failure
            return None

    def end(self, failure: BaseException | None) -> None:
        with self._changed:
            self._ended, self._failure = True, failure
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()
