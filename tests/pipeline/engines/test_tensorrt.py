"""TensorRT's calls: their signatures in the real package, and what is done when one fails.

The real package is looked at where it can be imported, which needs its libraries and no GPU. What
an engine gives is in `test_engines.py`, by a double of the same signatures.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import replace
from typing import Any

import pytest
import torch

from pipeline.engines.onnx_export import as_onnx, input_names, output_name
from tests.pipeline.engines import tensorrt_double as double
from tests.pipeline.engines.networks import answers, example, pictures, smoothing


def real() -> Any:
    return pytest.importorskip(
        "tensorrt", reason="the package tensorrt (extra tensorrt) is not installed, or has no CUDA"
    )


@pytest.mark.parametrize("kind", double.SIGNATURES)
def test_the_double_has_the_signatures(kind: str) -> None:
    ours = getattr(double, kind)
    for name, parameters in double.SIGNATURES[kind].items():
        if parameters is not None:
            found = list(inspect.signature(getattr(ours, name)).parameters)[1:]
            assert tuple(found) == parameters


@pytest.mark.parametrize("kind", double.SIGNATURES)
def test_the_real_package_has_the_same(kind: str) -> None:
    theirs = getattr(real(), kind)
    for name, parameters in double.SIGNATURES[kind].items():
        member = getattr(theirs, name)
        if parameters is None:
            assert isinstance(member, property)
            continue
        lines = re.findall(rf"^(?:\d+\. )?{name}\(self: (.*)\) -> ", member.__doc__, re.MULTILINE)
        assert parameters in [tuple(re.findall(r", (\w+): ", each)) for each in lines]


@pytest.mark.parametrize("kind", double.MEMBERS)
def test_the_real_package_has_the_members(kind: str) -> None:
    assert set(double.MEMBERS[kind]) <= set(getattr(real(), kind).__members__)
    assert real().Logger.ERROR is not None


def test_one_engine_serves_one_eye_and_two_where_the_example_says_so() -> None:
    """One optimisation profile, from one to the most of the first dimension."""
    network, builder = smoothing(), double.builder()
    content = builder.build(network, replace(example(), most_batch=2))
    for eyes in (1, 2):
        runner = builder.open(content, example(eyes))
        assert [tuple(each.shape) for each in answers(runner, pictures(1, eyes))] == [
            (eyes, 4, 8, 12)
        ] * 2
    with pytest.raises(RuntimeError, match=r"does not take \(3, 3, 8, 12\) as in_0"):
        builder.open(content, example(3))


@pytest.mark.parametrize(
    ("exported", "why"),
    [
        (b"", "cannot read the network: In node 3 with name: conv"),
        (b"too large", "could not build the network"),
    ],
)
def test_what_cannot_be_built_is_said(exported: bytes, why: str) -> None:
    with pytest.raises(RuntimeError, match=why):
        double.builder(exported).build(smoothing(), example())


def test_a_file_of_another_version_or_of_another_network_is_not_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    builder = double.builder()
    content = builder.build(smoothing(), example())
    with pytest.raises(RuntimeError, match="does not take"):
        builder.open(content, example(height=10))
    with pytest.raises(RuntimeError, match="has other inputs and outputs: in_0, in_1, out_0"):
        builder.open(content, replace(example(), states=()))
    half = replace(example(), given=(torch.zeros(2, 3, 8, 12, dtype=torch.float16),))
    with pytest.raises(RuntimeError, match=r"in_0 is not torch\.float16"):
        builder.open(content, half)
    monkeypatch.setattr(double, "VERSION", "11.5.0.1")
    with pytest.raises(RuntimeError, match="another version or GPU"):
        builder.open(content, example())


def test_a_call_that_fails_is_an_error_and_no_old_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    builder = double.builder()
    runner = builder.open(builder.build(smoothing(), example()), example())
    monkeypatch.setattr(double.IExecutionContext, "execute_async_v3", lambda self, stream: False)
    with pytest.raises(RuntimeError, match="could not run"):
        runner(pictures()[0])


def test_torchs_exporter_gives_the_names_and_types_that_tensorrt_is_told() -> None:
    onnx = pytest.importorskip("onnx", reason="onnx (extra tensorrt) is not installed")
    pytest.importorskip("onnxscript", reason="onnxscript (extra tensorrt) is not installed")
    case = replace(example(), most_batch=2)
    graph = onnx.load_from_string(as_onnx(smoothing(), case)).graph
    assert [each.name for each in graph.input] == input_names(case)
    assert [each.name for each in graph.output] == [output_name(0), output_name(1)]
    assert {each.type.tensor_type.elem_type for each in graph.input} == {onnx.TensorProto.FLOAT}


def test_what_torchs_exporter_writes_gives_torchs_answers() -> None:
    """By OpenVINO, which reads ONNX too."""
    pytest.importorskip("onnx", reason="onnx (extra tensorrt) is not installed")
    pytest.importorskip("onnxscript", reason="onnxscript (extra tensorrt) is not installed")
    openvino = pytest.importorskip("openvino")
    [picture], case, network = pictures(1), example(), smoothing()
    core = openvino.Core()
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    model = core.compile_model(core.read_model(as_onnx(network, case)), "CPU", exact)
    found = model([picture.numpy(), case.states[0].numpy()])
    for number, expected in enumerate(network(picture, *case.states)):
        assert float((torch.from_numpy(found[number]) - expected).abs().max()) <= 1e-5


def test_without_the_exporters_packages_it_says_which_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*args: object, **kwargs: object) -> None:
        raise ModuleNotFoundError("No module named 'onnxscript'")

    monkeypatch.setattr(torch.onnx, "export", missing)
    with pytest.raises(RuntimeError, match="needs a package: No module named 'onnxscript'"):
        as_onnx(smoothing(), example())
