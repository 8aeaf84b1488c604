"""Clips and runs that many tests read, made once a session; no test leaves anything to another."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import pytest

# As in workers (`workers/launch.py`); must be there before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from tests.clips import ClipSpec, make_clip
from tests.leftovers import forget_frames, nothing_left, with_warnings
from tests.made_once import MadeOnce
from tests.shared_runs import GetClip, UndisturbedRun, VideosOf

# How long an example takes says more of the machine than of the law.
hypothesis.settings.register_profile("vrmatte", deadline=None)
hypothesis.settings.load_profile("vrmatte")


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
