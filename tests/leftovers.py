"""Blame for what a test leaves behind: child processes and open pipes are reported as its own.

Without this the garbage collector finds them some tests later, and the warning fails whichever
test happens to run then. `tests/conftest.py` applies it to every test and to every module.
"""

from __future__ import annotations

import gc
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import wait

import psutil
import pytest

from tests.runs import command_line

#: So soon must a process be gone that has been asked to end.
ENDS_WITHIN_S = 2.0

#: Pipes that a test was blamed for already; its module is not, too.
_blamed: set[str] = set()


class LeftBehindError(Exception):
    """A test, or the fixtures of a module, have not ended or closed all that they began."""


@contextmanager
def nothing_left(node: pytest.Item | pytest.Collector) -> Iterator[None]:
    """What the block starts and opens must be gone after it; processes that are not are ended.

    What was there before, such as a process of a fixture with a wider scope, does not count. A
    test may also be the first to make such a fixture start something. Therefore, what is left by
    a test that uses a module's own fixture is the module's: it must be gone when that ends.

    Args:
        node: the test, or the module, of the block.

    Raises:
        LeftBehindError: a child still runs, or a pipe or socket is open. What is garbage already
            is collected first, so that Python's own warning says more about it.
    """
    children, pipes = _children(), _pipes()
    yield
    if _children() <= children and _pipes() <= pipes:
        return
    gc.collect()
    if _uses_fixtures_that_stay(node):
        return
    still_open = _pipes() - pipes - _blamed
    _blamed.update(still_open)
    left = [
        *(f"running: {words}" for words in _ended(_children() - children)),
        *(f"open: {pipe}" for pipe in sorted(still_open)),
    ]
    if left:
        raise LeftBehindError("; ".join([f"{node.nodeid} left behind", *left]))


def _uses_fixtures_that_stay(node: pytest.Item | pytest.Collector) -> bool:
    """Whether it is a test with a fixture of its module that other tests of it use, too.

    The fixtures of conftest.py and of pytest start nothing that stays.
    """
    if not isinstance(node, pytest.Function):
        return False
    fixtures = node._fixtureinfo.name2fixturedefs.values()
    module = node.nodeid.partition("::")[0]
    return any(
        each[-1].scope != "function" and each[-1].baseid.startswith(module) for each in fixtures
    )


def forget_frames(error: BaseException | None) -> None:
    """Drop what the frames of a failure refer to: pytest would keep it until another test."""
    while error is not None:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            with suppress(RuntimeError):  # it still runs
                frame.clear()
            _ = frame.f_locals  # once read, Python before 3.13 keeps a copy; this empties it
        for member in getattr(error, "exceptions", ()):
            forget_frames(member)
        error = error.__cause__ or error.__context__


def with_warnings(item: pytest.Item, error: Exception) -> Exception:
    """`error` of tearing a test down, with the warnings that pytest would show the next test.

    A warning keeps alive what it warns of, and that may hold more to warn of.
    """
    plugin = item.config.pluginmanager.get_plugin("unraisableexception")
    assert plugin is not None
    errors = [error]
    forget_frames(error)
    while True:
        try:
            plugin.pytest_runtest_teardown(item)
        except Exception as warning:
            errors.append(warning)
            forget_frames(warning)
        else:
            break
    return error if len(errors) == 1 else ExceptionGroup("torn down badly", errors)


def _children() -> set[int]:
    """Of this process, also those that ended and were not waited for, but for Python's own.

    By the kernel's lists, where psutil would look at all processes of the machine for
    milliseconds. A kernel without them (CONFIG_PROC_CHILDREN) shows none.
    """
    found: set[int] = set()
    for task in os.scandir("/proc/self/task"):
        with suppress(OSError), open(f"{task.path}/children") as file:  # noqa: PTH123, as below
            found.update(map(int, file.read().split()))
    return found - {
        getattr(resource_tracker, "_resource_tracker")._pid,  # noqa: B009
        getattr(forkserver, "_forkserver")._forkserver_pid,  # noqa: B009
    }


def _pipes() -> set[str]:
    """Open pipes and sockets of this process by the kernel's names, but for Python's own."""
    own = {
        getattr(resource_tracker, "_resource_tracker")._fd,  # noqa: B009
        getattr(forkserver, "_forkserver")._forkserver_alive_fd,  # noqa: B009
    }
    found = set()
    for file in os.scandir("/proc/self/fd"):
        try:
            target = os.readlink(file.path)  # noqa: PTH115, a Path costs five times as much
        except OSError:  # the descriptor of this very listing
            continue
        if target.startswith(("pipe:", "socket:")) and int(file.name) not in own:
            found.add(target)
    return found


def _ended(children: set[int]) -> list[str]:
    """The command lines of those that do not end by themselves soon; ended with their own."""
    words = []
    for pid in children:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            command = command_line(process)
            if _is_over(process):
                continue
            words.append(command)
            for each in [process, *process.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    each.kill()
            process.wait()
    return words


def _is_over(process: psutil.Process) -> bool:
    """Whether it ends within ENDS_WITHIN_S; somebody may still want its exit status."""
    handle = os.pidfd_open(process.pid)
    try:
        return bool(wait([handle], ENDS_WITHIN_S))
    finally:
        os.close(handle)
