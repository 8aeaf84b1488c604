"""Networks as ONNX, by torch's own exporter. Needs the packages onnx and onnxscript."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import Any

import torch
from torch import nn
from torch.export import Dim

from pipeline.engines.engine import Example
from pipeline.text import printable


def as_onnx(network: nn.Module, example: Example) -> bytes:
    """The network with its weights, in the types that it works in.

    Inputs and outputs are called `input_names` and `output_names`.

    Raises:
        RuntimeError: the exporter cannot take it, or is not installed.
    """
    dynamic: dict[str, Any] = {}
    if example.most_batch is not None:
        batch = Dim("batch", min=1, max=example.most_batch)
        dynamic = {"dynamic_shapes": (tuple({0: batch} for _ in example.inputs),)}
    try:
        # The exporter tells of its steps on both streams, and warns of its own deprecations.
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            torch.inference_mode(),
        ):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                _Positional(network),
                example.inputs,
                dynamo=True,
                verbose=False,
                input_names=input_names(example),
                **dynamic,
            )
    except ImportError as error:
        raise RuntimeError(f"torch's exporter needs a package: {error}") from error
    except Exception as error:  # the exporter's errors have no common kind
        raise RuntimeError(f"torch's exporter cannot take the network: {_said(error)}") from error
    assert program is not None
    model = program.model_proto
    for number, output in enumerate(model.graph.output):
        _rename(model.graph, output.name, output_name(number))
    return bytes(model.SerializeToString())


def input_names(example: Example) -> list[str]:
    return [f"in_{number}" for number in range(len(example.inputs))]


def output_name(number: int) -> str:
    return f"out_{number}"


def _rename(graph: Any, old: str, new: str) -> None:
    for output in graph.output:
        if output.name == old:
            output.name = new
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == old:
                    names[place] = new


def _said(error: BaseException) -> str:
    """What the innermost error says first: the outer ones only name the steps."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line for line in str(error).splitlines() if line.strip()]
    return printable(lines[0] if lines else type(error).__name__)


class _Positional(nn.Module):
    """The network with inputs that the exporter counts, however the network names them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.network(*inputs)
