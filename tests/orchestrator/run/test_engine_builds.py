"""Engines are built beside a run: one at a time, told aloud, and ended with it."""

from __future__ import annotations

import os
import subprocess
import threading
from dataclasses import replace

import pytest

from orchestrator.engines.chooser import Wishes
from orchestrator.engines.request import EngineAnswer, EngineRequest, Watch
from orchestrator.run.engine_builds import EngineBuilds
from pipeline.contract import VideoSettings
from pipeline.errors import MachineError
from tests.orchestrator.worlds import make_job
from tests.pipeline.engines.networks import a_key


def request(weights: str) -> EngineRequest:
    return EngineRequest(
        make_job().info, VideoSettings(), replace(a_key(), weights=weights), "/nowhere"
    )


def test_what_is_wished_for_later_is_built_too_and_a_failure_stops_no_other() -> None:
    built: list[str] = []
    said: list[str] = []
    all_done = threading.Event()

    def build(asked: EngineRequest, watch: Watch) -> EngineAnswer:
        built.append(asked.key.weights)
        if asked.key.weights == "b":
            raise MachineError("the GPU is out of memory")
        return EngineAnswer("d", "it is black" if asked.key.weights == "c" else None)

    def say(line: str) -> None:
        said.append(line)
        if len(said) == 6:
            all_done.set()

    wishes = Wishes()
    wishes.add(request("a"))
    with EngineBuilds(wishes, build, say):
        for weights in "abcb":
            wishes.add(request(weights))
        assert all_done.wait(60)
    assert built == ["a", "b", "c"]
    assert "is built; it serves videos that are planned from now on" in said[1]
    assert "was not built: the GPU is out of memory" in said[3]
    assert "is refused, and torch goes on: it is black" in said[5]


def test_a_build_that_goes_on_when_the_run_ends_is_ended_with_it() -> None:
    children: list[int] = []
    begun = threading.Event()
    said: list[str] = []

    def build(asked: EngineRequest, watch: Watch) -> EngineAnswer:
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
            children.append(child.pid)
            ended = watch(child.pid)
            begun.set()
            child.wait()
            ended()
        raise MachineError("orchestrator.engines.build_child was killed")

    wishes = Wishes()
    wishes.add(request("a"))
    with EngineBuilds(wishes, build, said.append):
        assert begun.wait(60)
    with pytest.raises(ProcessLookupError):
        os.kill(children[0], 0)
    assert "the run has ended; `vrmatte engines build` builds it" in said[-1]
