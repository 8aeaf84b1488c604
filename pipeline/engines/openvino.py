"""OpenVINO: networks compiled for this CPU, in fp32.

OpenVINO's own `convert_model` is not used because it reports its use over the network.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence
from typing import Any

import openvino as ov  # type: ignore[import-untyped]
import torch
from openvino import properties
from openvino.frontend import FrontEndManager  # type: ignore[import-untyped]
from openvino.frontend.pytorch.ts_decoder import (  # type: ignore[import-untyped]
    TorchScriptPythonDecoder,
)
from torch import Tensor, nn

from pipeline.engines.engine import Example, Runner

#: PyTorch's tracer keeps some of what it is at for the whole process, whoever's network it is.
_TRACING = threading.Lock()


class OpenVino:
    """See `pipeline.engines.kept.Builder`.

    Args:
        threads: of one call.
    """

    def __init__(self, threads: int, device: torch.device) -> None:
        del device  # the CPU
        self._core = ov.Core()
        self.options = {
            properties.hint.inference_precision(): ov.Type.f32,
            properties.hint.enable_cpu_pinning(): False,  # several of them share the cores
            properties.inference_num_threads(): threads,
            properties.num_streams(): 1,
        }

    def build(self, network: nn.Module, example: Example) -> bytes:
        with _TRACING:
            model = _convert(network, example)
        compiled = self._core.compile_model(model, "CPU", self.options)
        return bytes(compiled.export_model().getvalue())

    def open(self, content: bytes, example: Example) -> Runner:
        compiled = self._core.import_model(content, "CPU", self.options)
        shapes = [tuple(given.shape) for given in compiled.inputs]
        if shapes != [tuple(each.shape) for each in example.inputs]:
            raise RuntimeError(f"it is for inputs of {shapes}")
        answers = [tuple(made.shape) for made in compiled.outputs]
        return _Runner(
            compiled.create_infer_request(), example, answers[: len(answers) - len(example.states)]
        )


class _Runner:
    """See `pipeline.engines.engine.Runner`."""

    def __init__(self, request: Any, example: Example, answers: Sequence[tuple[int, ...]]) -> None:
        self._request = request
        self._given = [torch.empty(each.shape) for each in example.given]
        self._answers = [torch.empty(shape) for shape in answers]
        # Read and written by turns.
        self._states = [[torch.zeros(each.shape) for each in example.states] for _ in range(2)]
        self._shared = [[_share(state) for state in turn] for turn in self._states]
        for number, tensor in enumerate(self._given):
            request.set_input_tensor(number, _share(tensor))
        for number, tensor in enumerate(self._answers):
            request.set_output_tensor(number, _share(tensor))

    @property
    def states(self) -> list[Tensor]:
        return self._states[0]

    def rewind(self) -> None:
        for turn in self._states:
            for state in turn:
                state.zero_()

    def __call__(self, *given: Tensor) -> list[Tensor]:
        for place, value in zip(self._given, given, strict=True):
            place.copy_(value)
        old, new = self._shared
        for number in range(len(old)):
            self._request.set_input_tensor(len(self._given) + number, old[number])
            self._request.set_output_tensor(len(self._answers) + number, new[number])
        self._request.infer()
        self._states.reverse()
        self._shared.reverse()
        return self._answers


def _share(tensor: Tensor) -> Any:
    """The same memory as OpenVINO's tensor."""
    return ov.Tensor(tensor.numpy(), shared_memory=True)


def _convert(network: nn.Module, example: Example) -> Any:
    """OpenVINO's model of the network for exactly these shapes."""
    inputs = tuple(torch.rand(each.shape) for each in example.given) + tuple(
        torch.zeros(each.shape) for each in example.states
    )
    with warnings.catch_warnings(), torch.inference_mode():
        # torch.jit.trace is deprecated; torch.export takes several times as long.
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(network, inputs, check_trace=False)  # type: ignore[no-untyped-call]
        decoder = TorchScriptPythonDecoder(traced)  # must outlive the conversion
        front_end = FrontEndManager().load_by_framework("pytorch")
        model = front_end.convert(front_end.load(decoder))
    model.reshape({number: list(tensor.shape) for number, tensor in enumerate(inputs)})
    return model
