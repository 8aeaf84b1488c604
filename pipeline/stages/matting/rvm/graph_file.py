"""Read a TensorFlow.js graph model: a JSON of nodes, and weights in a file of bytes. Only data.

The format: https://github.com/tensorflow/tfjs/blob/master/tfjs-converter/README.md (files) and
TensorFlow's ``node_def.proto``, ``attr_value.proto`` (nodes). Weights follow each other in the
order of the manifest, quantised ones as ``value = code * scale + min``.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import MachineError
from pipeline.foreign.files import read_bytes
from pipeline.foreign.json_text import read_json

_LONGEST_GRAPH, _LONGEST_WEIGHTS = 64 << 20, 4 << 30

_DTYPES = {"float32": np.float32, "int32": np.int32, "bool": np.bool_, "uint8": np.uint8}


@dataclass(frozen=True, slots=True)
class Node:
    """One operation.

    Attributes:
        inputs: values that it takes, as (node, number of that node's output); what is only to be
            done before it is left out.
        attributes: numbers, texts, booleans, and tuples of them.
    """

    name: str
    operation: str
    inputs: tuple[tuple[str, int], ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes by name, and the values of those that are constants."""

    nodes: Mapping[str, Node]
    constants: Mapping[str, NDArray[Any]]

    def between(self, given: Iterable[str], wanted: Iterable[str]) -> list[Node]:
        """The nodes that make `wanted` of `given`, in an order in which they can be done.

        Raises:
            ValueError: one is missing, or they depend on each other in a circle.
        """
        done = {*given, *self.constants}
        found: list[Node] = []
        open_nodes: set[str] = set()
        waiting = [*reversed([*wanted])]
        while waiting:
            name = waiting[-1]
            if name in done:
                waiting.pop()
                continue
            node = self.nodes.get(name)
            if node is None:
                raise ValueError(f"there is no node {name!r}")
            missing = [source for source, _ in node.inputs if source not in done]
            if not missing:
                done.add(name)
                found.append(node)
                open_nodes.discard(name)
            elif name in open_nodes:
                raise ValueError(f"{name!r} depends on itself")
            else:
                open_nodes.add(name)
                waiting += missing
        return found


def read_graph(model: Path, weights: Path) -> Graph:
    """Raises MachineError: the files cannot be read, or do not hold such a graph."""
    try:
        said = read_json(model, _LONGEST_GRAPH)
        nodes = {each["name"]: _node(each) for each in said["modelTopology"]["node"]}
        [group] = said["weightsManifest"]
        constants = _constants(group["weights"], read_bytes(weights, _LONGEST_WEIGHTS))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise MachineError(
            f"{model} and {weights.name} hold no graph that can be read ({error})",
            "delete them to have them fetched again",
        ) from error
    return Graph(nodes, constants)


def _node(said: Mapping[str, Any]) -> Node:
    # An input that begins with ^ is done before, and gives nothing.
    inputs = [name for name in said.get("input", []) if not name.startswith("^")]
    if said["op"] == "Switch":
        # Which way is taken, is decided by whoever asks for what lies there.
        inputs = inputs[:1]
    attributes = {key: _attribute(value) for key, value in said.get("attr", {}).items()}
    return Node(said["name"], said["op"], tuple(map(_output, inputs)), attributes)


def _output(reference: str) -> tuple[str, int]:
    """``name:1`` is the second output of a node, ``name`` the first."""
    name, _, number = reference.partition(":")
    return name, int(number or 0)


def _attribute(said: Mapping[str, Any]) -> Any:
    for kind, value in said.items():
        match kind:
            case "i":
                return int(value)
            case "s":
                return base64.b64decode(value).decode()
            case "list":
                pairs = ((each, part) for each, parts in value.items() for part in parts)
                return tuple(_attribute({each: part}) for each, part in pairs)
            case _:  # b, f, type, shape
                return value
    return None


def _constants(manifest: list[Mapping[str, Any]], content: bytes) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    place = 0
    for each in manifest:
        quantised = each.get("quantization")
        dtype = np.dtype(_DTYPES[(quantised or each)["dtype"]])
        count = math.prod(each["shape"])
        codes = np.frombuffer(content, dtype, count, place)
        place += codes.nbytes
        if quantised:
            codes = (codes * quantised["scale"] + quantised["min"]).astype(np.float32)
        found[each["name"]] = codes.reshape(each["shape"])
    if place != len(content):
        raise ValueError(f"{len(content)} bytes of weights, {place} by the manifest")
    return found
