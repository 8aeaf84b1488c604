from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import socket
import struct
import threading
from multiprocessing.connection import wait

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ErrorRecord
from workers.messages import StopWorker, TaskFailed, TaskId, TaskProgress, WorkerReady
from workers.result_queue import LineGone, ParentEnd, WorkerEnd, open_line

TASK = TaskId("a", 0)


def progress(worker: int, frames: int) -> TaskProgress:
    return TaskProgress(worker, 1, TASK, 1, frames)


def framed(message: object) -> bytes:
    body = pickle.dumps(message)
    return struct.pack("!I", len(body)) + body


def all_of(end: ParentEnd, count: int) -> list[object]:
    """Wait until `count` messages are there."""
    found: list[object] = []
    while len(found) < count:
        assert wait([end.connection], 30), "nothing came"
        found += end.receive()
    return found


def test_messages_of_many_threads_arrive_whole_and_each_thread_in_order() -> None:
    parent, worker = open_line()

    def talk(number: int) -> None:
        for frames in range(200):
            worker.send(progress(number, frames))

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    messages = all_of(parent, 800)
    for thread in threads:
        thread.join()
    for number in range(4):
        mine = [
            m.frames_done for m in messages if isinstance(m, TaskProgress) if m.worker == number
        ]
        assert mine == list(range(200))
    worker.close()
    assert [type(m) for m in all_of(parent, 1)] == [LineGone]
    assert parent.receive() == []
    parent.close()


def test_commands_arrive_in_order_and_then_the_end() -> None:
    parent, worker = open_line()
    for _ in range(3):
        parent.send(StopWorker())
    assert [worker.receive() for _ in range(3)] == [StopWorker()] * 3
    parent.close()
    assert worker.receive() is None
    worker.close()


def test_the_parent_is_not_held_up_by_a_worker_that_does_not_read() -> None:
    parent, worker = open_line()
    big = TaskFailed(0, 1, TASK, 1, ErrorRecord("input", "x" * 4_000_000))
    for _ in range(3):
        parent.send(big)  # type: ignore[arg-type]  # any message will do
    assert parent.receive() == []
    parent.close()
    worker.close()


def test_what_was_said_before_death_is_heard_even_if_commands_were_left_unread() -> None:
    parent, worker = open_line()
    parent.send(StopWorker())
    worker.send(WorkerReady(0, 1, "cpu"))
    worker.close()
    messages = all_of(parent, 2)
    assert messages[0] == WorkerReady(0, 1, "cpu")
    assert isinstance(messages[1], LineGone)
    parent.close()


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(min_value=0, max_value=400), counts=st.integers(min_value=1, max_value=3))
def test_a_line_cut_anywhere_gives_the_whole_messages_and_then_its_end(
    cut: int, counts: int
) -> None:
    sent = [progress(0, number) for number in range(counts)]
    stream = b"".join(framed(message) for message in sent)
    ends = [len(framed(m)) for m in sent]
    cut = min(cut, len(stream))
    mine, theirs = socket.socketpair()
    parent = ParentEnd(mine)
    theirs.sendall(stream[:cut])
    theirs.close()
    messages = all_of(parent, 1)
    while not isinstance(messages[-1], LineGone):
        messages += all_of(parent, 1)
    whole = [m for n, m in enumerate(sent) if sum(ends[: n + 1]) <= cut]
    assert messages[:-1] == whole
    parent.close()


def test_a_garbled_message_is_the_end_of_the_line() -> None:
    mine, theirs = socket.socketpair()
    parent = ParentEnd(mine)
    theirs.sendall(framed(progress(0, 1)) + struct.pack("!I", 5) + b"\xffhaha" + framed("more"))
    messages = all_of(parent, 2)
    assert messages[0] == progress(0, 1)
    assert isinstance(messages[1], LineGone)
    assert "garbled" in messages[1].why
    parent.close()
    theirs.close()


def half_a_message_then_death(line: WorkerEnd) -> None:
    line.send(progress(0, 1))
    raw = socket.socket(fileno=os.dup(line._line.fileno()))
    raw.sendall(framed(progress(0, 2))[:-3])
    os.kill(os.getpid(), signal.SIGKILL)


def a_hundred_messages(line: WorkerEnd) -> None:
    for number in range(100):
        line.send(progress(1, number))


def test_a_worker_killed_in_the_middle_of_a_message_harms_neither_parent_nor_sibling() -> None:
    context = multiprocessing.get_context("spawn")
    ends, processes = [], []
    for target in (half_a_message_then_death, a_hundred_messages):
        parent, worker = open_line()
        process = context.Process(target=target, args=(worker,))
        process.start()
        worker.let_go()
        ends.append(parent)
        processes.append(process)
    first = all_of(ends[0], 2)
    assert first[0] == progress(0, 1)
    assert isinstance(first[1], LineGone)
    assert "bytes into a message" in first[1].why
    assert all_of(ends[1], 101)[:100] == [progress(1, number) for number in range(100)]
    for process, end in zip(processes, ends, strict=True):
        process.join()
        end.close()
    assert [process.exitcode for process in processes] == [-signal.SIGKILL, 0]
