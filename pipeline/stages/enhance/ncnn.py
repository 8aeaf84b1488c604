"""Reads a network in ncnn's format: a graph as text (``.param``) and its weights (``.bin``).

Both are data alone: nothing in them is run. Only the layers that super-resolution networks are made
of are known, and each of their parameters must have a meaning here, so that no file is half read.
The format is ncnn's (github.com/Tencent/ncnn/wiki, "param and model file structure"): a magic
number, counts, then a layer a line: type, name, numbers of inputs and outputs, their names, and
parameters ``id=value``. The weights follow one another in the order of the layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipeline.errors import MachineError
from pipeline.foreign.files import Unreadable, open_regular, read_text

_MAGIC = "7767517"

#: Before the weights of a convolution: they are 16-bit floats; otherwise this is 0.
_HALF = 0x01306B47

_LONGEST_PARAM, _LARGEST_BIN = 1 << 20, 256 << 20
_MOST_CHANNELS, _LARGEST_KERNEL = 4096, 31


class BadNetwork(Exception):
    """What is wrong with the files, in words."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A line of the graph."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parameters: Mapping[int, float]


def load_ncnn(param: Path, weights: Path) -> NcnnNetwork:
    """The network of two files, on the CPU, in 32-bit floats.

    Raises:
        MachineError: they cannot be read, or are no such network.
    """
    try:
        text = read_text(param, _LONGEST_PARAM)
        with open_regular(weights) as file:
            data = file.read(_LARGEST_BIN + 1)
    except Unreadable as error:
        raise error.as_error(MachineError, param) from None
    try:
        if len(data) > _LARGEST_BIN:
            raise BadNetwork(f"more than {_LARGEST_BIN >> 20} MiB of weights")
        return NcnnNetwork(parse(text), data)
    except BadNetwork as error:
        raise MachineError(
            f"{param.name} and {weights.name} in {param.parent} are no network that can be used:"
            f" {error}",
            "fetch them again: vrmatte models fetch",
        ) from None


def parse(text: str) -> list[Layer]:
    """The layers of a ``.param`` in order. Raises BadNetwork."""
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if len(lines) < 3 or lines[0] != [_MAGIC]:
        raise BadNetwork("it does not begin as ncnn's graphs do")
    layers = []
    for words in lines[2:]:
        try:
            ins, outs = int(words[2]), int(words[3])
            if min(ins, outs) < 0 or len(words) < 4 + ins + outs:
                raise BadNetwork(f"a line is cut off: {' '.join(words)[:60]}")
            names = words[4 : 4 + ins + outs]
            pairs = [word.partition("=") for word in words[4 + ins + outs :]]
            parameters = {int(key): float(value) for key, _, value in pairs}
        except (ValueError, IndexError):
            raise BadNetwork(f"a line makes no sense: {' '.join(words)[:60]}") from None
        layers.append(Layer(words[0], words[1], tuple(names[:ins]), tuple(names[ins:]), parameters))
    if str(len(layers)) != lines[1][0]:
        raise BadNetwork(f"{len(layers)} layers instead of {lines[1][0]}")
    return layers


class _Weights:
    """The bytes of a ``.bin``, taken in order."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def floats(self, count: int) -> Tensor:
        return torch.from_numpy(self._take(np.dtype("<f4"), count).copy())

    def flagged(self, count: int) -> Tensor:
        """Floats of 32 or 16 bits, as a flag before them says."""
        flag = int(self._take(np.dtype("<u4"), 1)[0])
        if flag == 0:
            return self.floats(count)
        if flag != _HALF:
            raise BadNetwork(f"weights of an unknown kind ({flag:#x})")
        values = self._take(np.dtype("<f2"), count).astype(np.float32)
        self._at += -(2 * count) % 4
        return torch.from_numpy(values)

    def end(self) -> None:
        if self._at != len(self._data):
            raise BadNetwork(f"{len(self._data) - self._at} bytes of weights too many")

    def _take(self, kind: np.dtype[np.generic], count: int) -> NDArray[Any]:
        end = self._at + count * kind.itemsize
        if count < 0 or end > len(self._data):
            raise BadNetwork("its weights are cut off")
        found = np.frombuffer(self._data, kind, count, self._at)
        self._at = end
        if found.dtype.kind == "f" and not np.isfinite(found).all():
            raise BadNetwork("weights that are no numbers")
        return found


#: (inputs) -> output.
_Run = Callable[[Sequence[Tensor]], Tensor]


class NcnnNetwork(nn.Module):
    """A graph with one input and one output.

    Attributes:
        scale: how many times larger its output is.
        radius: pixels of the input around a pixel on which that pixel's output depends, at the
            most.
    """

    def __init__(self, layers: Sequence[Layer], data: bytes) -> None:
        super().__init__()
        weights = _Weights(data)
        self._steps: list[tuple[tuple[str, ...], tuple[str, ...], _Run]] = []
        sizes: dict[str, tuple[float, float]] = {}  # of each value: its scale, its radius
        channels: dict[str, int] = {}
        self._modules_in_order = nn.ModuleList()
        self._source = self._result = ""
        for layer in layers:
            missing = [name for name in layer.inputs if name not in sizes]
            if missing or len(layer.outputs) < 1:
                raise BadNetwork(f"{layer.name} has no input {missing[0] if missing else ''}")
            if layer.kind == "Input":
                if self._source:
                    raise BadNetwork("two inputs")
                self._source = layer.outputs[0]
                sizes[self._source], channels[self._source] = (1.0, 0.0), 3
                continue
            of = [(*sizes[name], channels[name]) for name in layer.inputs]
            run, size, count = self._step(layer, of, weights)
            self._steps.append((layer.inputs, layer.outputs, run))
            for name in layer.outputs:
                sizes[name], channels[name] = size, count
        weights.end()
        read = {name for inputs, _, _ in self._steps for name in inputs}
        results = [name for _, outputs, _ in self._steps for name in outputs if name not in read]
        if not self._source or len(results) != 1:
            raise BadNetwork(f"{len(results)} outputs instead of one")
        self._result = results[0]
        scale, radius = sizes[self._result]
        if channels[self._result] != 3 or scale != int(scale) or not 1 <= scale <= 8:
            raise BadNetwork(f"{channels[self._result]} channels, {scale:g} times as large")
        self.scale, self.radius = int(scale), math.ceil(radius)
        self._last = {name: k for k, (inputs, _, _) in enumerate(self._steps) for name in inputs}
        self.requires_grad_(False)
        self.eval()

    def forward(self, picture: Tensor) -> Tensor:
        """``[N, 3, H, W]``, 0..1 -> ``[N, 3, scale * H, scale * W]``, 0..1 and a little beyond."""
        values = {self._source: picture}
        for place, (inputs, outputs, run) in enumerate(self._steps):
            made = run([values[name] for name in inputs])
            for name in inputs:
                if self._last[name] == place:
                    values.pop(name, None)
            values.update(dict.fromkeys(outputs, made))
        return values[self._result]

    def _step(
        self, layer: Layer, of: Sequence[tuple[float, float, int]], weights: _Weights
    ) -> tuple[_Run, tuple[float, float], int]:
        """What a layer does, the scale and radius of what it gives, and its channels."""
        given = dict(layer.parameters)
        take = _Taken(layer, given)
        scale = max((each[0] for each in of), default=0.0)
        radius = max((each[1] for each in of), default=0.0)
        count = of[0][2] if of else 0
        run: _Run
        if layer.kind == "MemoryData":
            width, height, count = take(0, 1), take(1, 1), take(2, 1)
            if (width, height) != (1, 1) or not 1 <= count <= _MOST_CHANNELS:
                raise BadNetwork(f"{layer.name} has a size")
            held = _Held(weights.floats(count).view(1, count, 1, 1))
            self._modules_in_order.append(held)
            run, scale = held, 0.0
        elif layer.kind == "Convolution":
            run, count, reach = self._convolution(layer, take, count, weights)
            radius += reach / scale
        elif layer.kind == "PReLU":
            module = nn.PReLU(take(0, 0))
            _require(module.num_parameters in (1, count), layer)
            module.weight.data = weights.floats(module.num_parameters)
            self._modules_in_order.append(module)
            run = _one(module)
        elif layer.kind in ("Swish", "Sigmoid", "Split"):
            run = {"Swish": _one(functional.silu), "Sigmoid": _one(torch.sigmoid)}.get(
                layer.kind, _one(lambda value: value)
            )
        elif layer.kind == "BinaryOp":
            run, count = _binary(layer, take, of), max(each[2] for each in of)
        elif layer.kind == "Concat":
            _require(take(0, 0) == 0 and len({each[0] for each in of}) == 1, layer)
            run, count = lambda values: torch.cat(list(values), 1), sum(each[2] for each in of)
        elif layer.kind == "PixelShuffle":
            by = take(0, 1)
            _require(1 <= by <= 8 and count % (by * by) == 0 and take(1, 0) == 0, layer)
            run, count, scale = _one(nn.PixelShuffle(by)), count // (by * by), scale * by
        elif layer.kind == "Interp":
            run, scale, reach = _interp(layer, take, scale)
            radius += reach
        else:
            raise BadNetwork(f"a layer of the kind {layer.kind}")
        take.end()
        return run, (scale, radius), count

    def _convolution(
        self, layer: Layer, take: _Taken, count: int, weights: _Weights
    ) -> tuple[_Run, int, float]:
        out, side = take(0, 0), take(1, 0)
        stride, dilation, pad, biased, numbers = (
            take(3, 1),
            take(2, 1),
            take(4, 0),
            take(5, 0),
            take(6, 0),
        )
        _require(1 <= out <= _MOST_CHANNELS and 1 <= side <= _LARGEST_KERNEL, layer)
        same = stride == 1 and dilation == 1 and side % 2 == 1 and pad == side // 2
        _require(same and numbers == out * count * side * side, layer)
        module = nn.Conv2d(count, out, side, padding=pad, bias=bool(biased))
        module.weight.data = weights.flagged(numbers).view(out, count, side, side)
        if module.bias is not None:
            module.bias.data = weights.floats(out)
        self._modules_in_order.append(module)
        return _one(module), out, pad


class _Taken:
    """The parameters of a layer, whole numbers, each with its default; none may be left over."""

    def __init__(self, layer: Layer, given: dict[int, float]) -> None:
        self._layer, self._given = layer, given

    def __call__(self, key: int, default: int) -> int:
        value = self._given.pop(key, default)
        _require(value == int(value), self._layer)
        return int(value)

    def real(self, key: int, default: float) -> float:
        return self._given.pop(key, default)

    def end(self) -> None:
        if self._given:
            raise BadNetwork(f"{self._layer.name} has a parameter {min(self._given)}")


class _Held(nn.Module):
    """A constant of the graph."""

    value: Tensor

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.register_buffer("value", value)

    def forward(self, values: Sequence[Tensor]) -> Tensor:
        return self.value


def _require(fits: bool, layer: Layer) -> None:
    if not fits:
        raise BadNetwork(f"the layer {layer.name} ({layer.kind}) has parameters without a meaning")


def _one(function: Callable[[Tensor], Tensor]) -> _Run:
    return lambda values: function(values[0])


_OPERATIONS: Mapping[int, Callable[[Tensor, Tensor | float], Tensor]] = {
    0: torch.add,
    1: torch.sub,
    2: torch.mul,
    3: torch.div,
}


def _binary(layer: Layer, take: _Taken, of: Sequence[tuple[float, float, int]]) -> _Run:
    kind, with_number = take(0, 0), take(1, 0)
    _require(kind in _OPERATIONS and len(of) == (1 if with_number else 2), layer)
    operation = _OPERATIONS[kind]
    if with_number:
        number = take.real(2, 0.0)
        return lambda values: operation(values[0], number)
    scales = {each[0] for each in of if each[0]}  # a constant has no size
    _require(len(scales) == 1 and len({each[2] for each in of}) == 1, layer)
    return lambda values: operation(values[0], values[1])


def _interp(layer: Layer, take: _Taken, scale: float) -> tuple[_Run, float, float]:
    """A resize, what is the scale then, and how far in the input it reaches."""
    kind = {1: "nearest", 3: "bicubic"}.get(take(0, 0))
    times = take.real(1, 1.0)
    _require(kind is not None and times == take.real(2, 1.0) and times in (0.5, 2, 3, 4), layer)
    if kind == "nearest":
        return (
            _one(lambda value: functional.interpolate(value, scale_factor=times, mode="nearest")),
            scale * times,
            0.0,
        )
    _require(times == 0.5, layer)
    return _one(_halved), scale * times, 3.0 / scale


def _halved(value: Tensor) -> Tensor:
    """By bicubic interpolation (a = -0.75) of four pixels in each direction, as ncnn does."""
    return functional.interpolate(
        value, scale_factor=0.5, mode="bicubic", align_corners=False, recompute_scale_factor=False
    )
