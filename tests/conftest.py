"""Clips and runs that many tests read, made once a session; no test leaves anything to another."""

from __future__ import annotations

import ctypes
import os
import signal
from collections import defaultdict
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# As in workers (`workers/launch.py`); must be there before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from tests.clips import ClipSpec, make_clip
from tests.leftovers import forget_frames, nothing_left, with_warnings
from tests.made_once import MadeOnce
from tests.schedule import (
    in_order,
    is_slow,
    read_durations,
    scope_of,
    with_unmeasured,
    write_durations,
)
from tests.shared_runs import GetClip, UndisturbedRun, VideosOf

# Large arrays come and go; what is kept needs no clearing of pages by the kernel, as in workers.
for _option, _value in ((-3, 1 << 30), (-1, (2 << 30) - 1)):  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
    ctypes.CDLL(None).mallopt(_option, _value)

# How long an example takes says more of the machine than of the law.
hypothesis.settings.register_profile("vrmatte", deadline=None)
hypothesis.settings.load_profile("vrmatte")

# In the background of a script, or under nohup, these are ignored, and all that tests start would
# inherit that. With a handler of its own a process hands on the default.
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda number, frame: None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--keep-durations", action="store_true", help="write how long tests took into the tree"
    )

    parser.addoption("--reversed", action="store_true", help="run the tests in reversed order")


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config.option, "loadscopereorder"):  # of pytest-xdist, in the leading process
        config.option.loadscopereorder = False  # the order is ours
    if config.option.keep_durations and not hasattr(config, "workerinput"):
        config.pluginmanager.register(KeptDurations(), "kept-durations")


class KeptDurations:
    """Adds up the durations of each test, those of its fixtures too, and keeps them."""

    def __init__(self) -> None:
        self._measured: dict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._measured[report.nodeid] += report.duration

    def pytest_sessionfinish(self) -> None:
        write_durations(self._measured)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what is slow, and put the files that take longest first, or all in reversed order."""
    durations = read_durations()
    for item in items:
        if is_slow(item.nodeid, durations):
            item.add_marker("slow")
    slow = (item.nodeid for item in items if item.get_closest_marker("slow"))
    durations = with_unmeasured(durations, slow)
    place = {test: at for at, test in enumerate(in_order((i.nodeid for i in items), durations))}
    items.sort(key=lambda item: place[item.nodeid], reverse=config.option.reversed)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Processes take scopes of `tests.schedule`, where none other is asked for."""
    from xdist.scheduler import LoadScopeScheduling

    scheduling = LoadScopeScheduling(config, log)
    scheduling._split_scope = scope_of
    return scheduling


class _SignalStack(ctypes.Structure):
    """``stack_t`` of Linux."""

    _fields_ = (("sp", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Signals are handled on the ordinary stack.

    Libraries leave a separate one behind that is too small for the registers of AMX, once OpenVINO
    or PyTorch use these: then the kernel ends the process with SIGSEGV when a signal comes.
    """
    disabled = _SignalStack(None, 2, 0)  # SS_DISABLE
    ctypes.CDLL(None).sigaltstack(ctypes.byref(disabled), None)


@pytest.fixture(autouse=True, scope="module")
def module_leaves_nothing(request: pytest.FixtureRequest) -> Iterator[None]:
    """Set up before, and torn down after, all other fixtures of the module."""
    with nothing_left(request.node):
        yield


@pytest.fixture(autouse=True)
def test_leaves_nothing(request: pytest.FixtureRequest) -> Iterator[None]:
    """Set up after the fixtures of wider scopes, whose processes and pipes may stay."""
    with nothing_left(request.node):
        yield


@pytest.hookimpl(trylast=True)  # a debugger comes first
def pytest_exception_interact(call: pytest.CallInfo[object]) -> None:
    if call.excinfo is not None:
        forget_frames(call.excinfo.value)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """Report the warnings about garbage of this test here, also where tearing it down fails."""
    try:
        yield
    except Exception as error:
        raise with_warnings(item, error) from None


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Small tensors: threads would mostly wait for each other, the more the busier the machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def made_once(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> MadeOnce:
    """For all processes of pytest-xdist: their base folders lie in that of the session."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if hasattr(request.config, "workerinput") else base) / "made-once"
    folder.mkdir(exist_ok=True)
    return MadeOnce(folder)


@pytest.fixture(scope="session")
def clip(made_once: MadeOnce) -> GetClip:
    """Encodes a painted clip, or returns the one that was made of an equal spec."""

    def get(spec: ClipSpec) -> Path:
        return made_once("clip", spec, lambda folder: make_clip(folder, spec)) / spec.name

    return get


@pytest.fixture(scope="session")
def videos_of(made_once: MadeOnce, clip: GetClip) -> VideosOf:
    return VideosOf(made_once, clip)


@pytest.fixture(scope="session")
def undisturbed_run(made_once: MadeOnce, videos_of: VideosOf) -> UndisturbedRun:
    return UndisturbedRun(made_once, videos_of)


@pytest.fixture(scope="session")
def demo_folder(made_once: MadeOnce) -> Path:
    """The demo's clips that `tests.pipeline.demo_truth` knows the truth of."""
    from tests.pipeline.demo_truth import make_demo_clips

    return made_once("demo", "", make_demo_clips)
