"""RVM as the graph that its authors published for browsers: done in torch, without their code.

`pipeline/stages/matting/rvm/registry.py` says where it comes from. What is done at full size, the
last line of the refiner, is not asked of the graph; `coefficients.py` says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.errors import MachineError
from pipeline.stages.matting.rvm.coefficients import slope_by_sums
from pipeline.stages.matting.rvm.graph_file import Graph
from pipeline.stages.matting.rvm.graph_operations import (
    CONVOLUTIONS,
    OPERATIONS,
    PASSING,
    Operation,
    Value,
    as_channels_second,
    kernel_of,
)

_INSIDE = "StatefulPartitionedCall/matting_network_wrapper/StatefulPartitionedCall"
#: The picture at the network's size, and what the network makes of it: colours and alpha.
_SMALL, _MADE = f"{_INSIDE}/cond/output/_660", f"{_INSIDE}/conv2d_62/BiasAdd"
#: Mean and spread of ImageNet's colours, which the file holds in 8 bits: by them alone the
#: recurrent states would be off by 0.005.
_EXACT = {
    f"{_INSIDE}/mobile_net_v3_encoder/Const": np.array([0.485, 0.456, 0.406], np.float32),
    f"ConstantFolding/{_INSIDE}/mobile_net_v3_encoder/truediv_recip": np.array(
        [1 / 0.229, 1 / 0.224, 1 / 0.225], np.float32
    ),
}
_STATES = ("r1i", "r2i", "r3i", "r4i"), ("Identity_2", "Identity_3", "Identity_4", "Identity_5")

#: Names a value: a node, and the number of its output.
_Reference = tuple[str, int]


@dataclass(frozen=True, slots=True)
class _Step:
    """One operation, and the values that nobody needs after it."""

    node: str
    operation: Operation
    inputs: tuple[_Reference, ...]
    attributes: Mapping[str, Any]
    last_used: tuple[_Reference, ...]


class GraphPart(nn.Module):
    """What lies between some nodes of a graph and others. Its constants are its buffers.

    Args:
        given: nodes whose first outputs `forward` takes, pictures as ``[E, C, H, W]``.
        wanted: nodes whose first outputs it returns.

    Raises:
        ValueError: the graph has no such part, or an operation in it is not known here.
    """

    def __init__(self, graph: Graph, given: Sequence[str], wanted: Sequence[str]) -> None:
        super().__init__()
        self._given, self._wanted = tuple(given), tuple(wanted)
        self._numbers: dict[str, Value] = {}
        self._buffer_names: dict[str, str] = {}
        steps: list[_Step] = []
        constants = dict(graph.constants)
        for node in graph.between(given, wanted):
            first = node.inputs[0][0] if node.inputs else ""
            if node.operation in PASSING and first in constants:
                constants[node.name] = constants[first]
                continue
            if (operation := OPERATIONS.get(node.operation)) is None:
                raise ValueError(f"the operation {node.operation} is not known")
            for place, (source, _) in enumerate(node.inputs):
                if source in constants and source not in self._numbers | self._buffer_names:
                    is_kernel = place == 1 and node.operation in CONVOLUTIONS
                    kernel = kernel_of(node.operation, constants[source]) if is_kernel else None
                    self._keep(source, constants[source] if kernel is None else kernel, is_kernel)
            steps.append(_Step(node.name, operation, node.inputs, node.attributes, ()))
        self._steps = _with_last_uses(steps, {(name, 0) for name in wanted})

    def _keep(self, name: str, value: Any, is_kernel: bool) -> None:
        if value.dtype.kind != "f":
            self._numbers[name] = value
            return
        tensor = torch.from_numpy(value.copy())
        self._buffer_names[name] = f"constant_{len(self._buffer_names)}"
        self.register_buffer(
            self._buffer_names[name], tensor if is_kernel else as_channels_second(tensor)
        )

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        values: dict[_Reference, Value] = {
            (name, 0): value for name, value in zip(self._given, given, strict=True)
        }
        buffers = dict(self.named_buffers())
        known = {(name, 0): value for name, value in self._numbers.items()} | {
            (name, 0): buffers[buffer] for name, buffer in self._buffer_names.items()
        }
        for step in self._steps:
            inputs = [values[each] if each in values else known[each] for each in step.inputs]
            made = step.operation(inputs, step.attributes)
            outputs = made if isinstance(made, tuple) else (made,)
            values.update({(step.node, number): each for number, each in enumerate(outputs)})
            for reference in step.last_used:
                values.pop(reference, None)
        return tuple(values[name, 0] for name in self._wanted)


def _with_last_uses(steps: Sequence[_Step], wanted: set[_Reference]) -> list[_Step]:
    """The same steps with what may be forgotten after each: a frame at 4K has many planes."""
    seen = set(wanted)
    found = []
    for step in reversed(steps):
        last = tuple(each for each in dict.fromkeys(step.inputs) if each not in seen)
        seen.update(last)
        found.append(_Step(step.node, step.operation, step.inputs, step.attributes, last))
    return found[::-1]


class GraphNetwork(nn.Module):
    """RVM's network at its own size, and a refiner.

    Raises:
        MachineError: the graph is not RVM's.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        into, out = _STATES
        exact = {name: value for name, value in _EXACT.items() if name in graph.constants}
        graph = replace(graph, constants={**graph.constants, **exact})
        try:
            self.trunk = GraphPart(graph, (_SMALL, *into), (_MADE, *out))
        except (ValueError, LookupError) as error:
            raise MachineError(
                f"the graph is not that of RVM ({error})", "check matting.rvm_weights"
            ) from error
        self.refiner = GuidedLines()

    def coefficients(self, refine: bool) -> nn.Module:
        """As `pipeline.stages.matting.rvm.coefficients.Coefficients`."""
        return _GraphCoefficients(self, refine)


class GuidedLines(nn.Module):
    """The refiner without parameters: a guided filter of radius 1, by channel.

    He and Sun, "Fast Guided Filter", 2015, with RVM's radius and epsilon. The graph has one too,
    but its windows stop at the picture's edge, so that what it makes is two pixels smaller than
    the picture, and moved when it is enlarged.
    """

    _EPSILON = 1e-5

    def forward(self, guide: Tensor, made: Tensor) -> tuple[Tensor, Tensor]:
        """Slope and offset ``[E, 4, h, w]`` of what was `made` by the guide ``[E, 4, h, w]``."""
        mean, level = _box(guide), _box(made)
        common = _box(guide * made) - mean * level
        slope = common / (_box(guide * guide) - mean * mean + self._EPSILON)
        return slope, level - slope * mean


def _box(planes: Tensor) -> Tensor:
    """Mean of 3x3 pixels; there is black outside, as in RVM."""
    return F.avg_pool2d(planes, 3, 1, 1)


class _GraphCoefficients(nn.Module):
    def __init__(self, network: GraphNetwork, refine: bool) -> None:
        super().__init__()
        self._network = network
        self._refine = refine

    def forward(self, small: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        if not states:
            states = tuple(small.new_zeros(1, 1, 1, 1) for _ in range(4))
        made, *recurrent = self._network.trunk(small, *states)
        small, made = small.float(), made.float()
        if self._refine:
            guide = torch.cat([small, small.mean(1, keepdim=True)], 1)
            slope, offset = self._network.refiner(guide, made)
        else:
            slope, offset = torch.zeros_like(made), made
        return slope_by_sums(slope), offset, *recurrent
