"""Every engine: torch's answers, states in 32 bits that can be read, written and rewound."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contract import ProcessingSettings, VideoSettings
from pipeline.engines.by_torch import CompileEngine, CudaGraphEngine, TorchEngine
from pipeline.engines.catalogue import ENGINES, EngineName
from pipeline.engines.choice import settled_engine
from pipeline.engines.compiled_files import CompiledFiles
from pipeline.engines.engine import Engine, Runners
from pipeline.engines.kept import BuiltAtOnce
from pipeline.engines.openvino import OpenVino
from pipeline.errors import MachineError, SettingsError
from pipeline.stages.matting.rvm.facts import RVM
from tests.pipeline.engines import tensorrt_double
from tests.pipeline.engines.networks import a_key, answers, example, pictures, smoothing
from tests.render import CPU


def by_openvino(folder: Path) -> Engine:
    return BuiltAtOnce(
        "OpenVINO", OpenVino(1, CPU), CompiledFiles(folder), lambda part, case: a_key(case.shapes)
    )


def by_tensorrt(folder: Path) -> Engine:
    return BuiltAtOnce(
        "TensorRT",
        tensorrt_double.builder(),
        CompiledFiles(folder),
        lambda part, case: a_key(case.shapes),
    )


MAKERS: dict[str, Callable[[Path], Engine]] = {
    "torch": lambda folder: TorchEngine(1, CPU),
    "cuda_graph": lambda folder: CudaGraphEngine(1, CPU, lambda work: work),
    "compile": lambda folder: CompileEngine(1, CPU),
    "openvino": by_openvino,
    "tensorrt": by_tensorrt,
}


@pytest.fixture
def engine(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Engine:
    # What a compiler makes of it is not ours; that it is asked for the same bits every time is.
    def compile_nothing(
        function: Any, *, fullgraph: bool, dynamic: bool, options: Any, recompile_limit: int
    ) -> Any:
        assert (fullgraph, dynamic, options) == (True, False, {"deterministic": True})
        assert recompile_limit >= 1024  # boxes around people have many sizes; torch allows 8
        return function

    monkeypatch.setattr(torch, "compile", compile_nothing)
    return MAKERS[request.param](tmp_path)


every_engine = pytest.mark.parametrize("engine", MAKERS, indirect=True)


def test_every_row_has_its_engine_here_and_its_name_among_the_settings() -> None:
    asked = get_args(get_type_hints(ProcessingSettings)["engine"])
    assert set(MAKERS) == set(ENGINES) == set(get_args(EngineName)) == set(asked) - {"auto"}


@every_engine
def test_it_gives_what_torch_gives_whoever_had_it_before(engine: Engine) -> None:
    network = smoothing()
    expected = answers(TorchEngine(1, CPU).load(network, example()), pictures())
    runner = engine.load(network, example())
    for _ in range(2):
        found = answers(runner, pictures())
        for ours, theirs in zip(found, expected, strict=True):
            assert float((ours - theirs).abs().max()) <= 1e-5
        runner.rewind()
        assert not any(state.any() for state in runner.states)


@every_engine
def test_states_have_32_bits_and_go_on_from_what_is_written(engine: Engine) -> None:
    runner = engine.load(smoothing(), example())
    frames = pictures()
    expected = answers(runner, frames)[-2:]
    runner.rewind()
    answers(runner, frames[:2])
    memory = [state.clone() for state in runner.states]
    assert all(state.dtype == torch.float32 for state in memory)
    answers(runner, pictures(5))
    with torch.inference_mode():
        for state, value in zip(runner.states, memory, strict=True):
            state.copy_(value)
    assert all(map(torch.equal, answers(runner, frames[2:])[-2:], expected))


@every_engine
def test_lanes_do_not_meet(engine: Engine) -> None:
    network = smoothing()
    runners: Runners[str] = Runners(lambda key: engine.load(network, example()), 2)
    clips = [pictures(), [picture.flip(0) for picture in pictures()]]
    alone = [answers(engine.load(network, example()), frames) for frames in clips]

    def lane(number: int) -> bool:
        runner = runners.take("key")
        found = answers(runner, clips[number % 2])
        runners.give_back("key", runner)
        return all(map(torch.equal, found, alone[number % 2]))

    with ThreadPoolExecutor(2, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        assert all(pool.map(lane, range(6)))


ENGINE = st.sampled_from(sorted(ENGINES))


@settings(deadline=None)
@given(
    asked=st.sampled_from(["auto", *ENGINES]),
    kind=st.sampled_from(["cpu", "cuda"]),
    precision=st.sampled_from(["auto", "fp32", "fp16"]),
    graphs=st.sampled_from(["auto", "off"]),
    installed=st.frozensets(ENGINE),
)
def test_what_is_settled_can_be_used_and_settling_twice_changes_nothing(
    asked: Any, kind: str, precision: Any, graphs: Any, installed: frozenset[str]
) -> None:
    processing = ProcessingSettings(engine=asked, precision=precision, cuda_graphs=graphs)
    there = installed | {"torch", "cuda_graph", "compile"}
    try:
        settled = settled_engine(processing, RVM.engines, kind, lambda row: row.name in there)
    except (MachineError, SettingsError) as error:
        refusal: MachineError | SettingsError | None = error
    else:
        refusal = None
    if refusal is not None:
        assert asked != "auto"
        assert "processing.engine" in refusal.message
        assert refusal.advice
        return
    row = ENGINES[settled.engine]
    assert settled.engine in there
    assert kind in row.devices
    assert precision in row.precisions
    assert asked in ("auto", settled.engine)
    assert row.automatic or asked != "auto"
    assert not (settled.engine == "cuda_graph" and graphs == "off")
    again = settled_engine(settled, RVM.engines, kind, lambda row: row.name in there)
    assert again == settled


def test_engines_of_the_same_bits_go_on_with_each_others_work() -> None:
    """Graphs are turned off where a driver crashes: that begins no video anew."""

    def fingerprint(**values: Any) -> str:
        return VideoSettings(processing=ProcessingSettings(**values)).fingerprint()

    assert fingerprint(engine="cuda_graph") == fingerprint(engine="torch")
    others = {fingerprint(engine=name) for name in ("torch", "compile", "openvino", "tensorrt")}
    assert len(others) == 4
    built = {fingerprint(engine="tensorrt", engine_file=digit * 32) for digit in "ab"}
    assert len(built | others) == 6
