"""The operations of TensorFlow that RVM's graph needs, in torch.

Pictures and weights of a graph have their channels last; here every tensor of four dimensions has
them second, as torch wants it. Shapes, and all that is computed of them, are arrays of NumPy, in
the graph's own order: for one size of picture they are constants, and never part of a trace.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

#: A tensor, or numbers that are known without one.
Value = Any

#: Takes the inputs and the attributes of a node; gives its output, or a tuple of several.
Operation = Callable[[Sequence[Value], Mapping[str, Any]], Value]

#: Where the dimensions of a picture with channels last stand here.
_PLACE = (0, 2, 3, 1)


def kernel_of(operation: str, weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """A graph's weights ``[H, W, I, O]`` of a convolution as torch's ``[O, I, H, W]``."""
    if "Depthwise" in operation:
        height, width, channels, copies = weights.shape
        return weights.transpose(2, 3, 0, 1).reshape(channels * copies, 1, height, width)
    return weights.transpose(3, 2, 0, 1)


def as_channels_second(constant: Tensor) -> Tensor:
    """A constant that is no kernel, such as a colour ``[1, 1, 1, 3]``."""
    return constant.permute(0, 3, 1, 2).contiguous() if constant.dim() == 4 else constant


def _convolve(inputs: Sequence[Value], attributes: Mapping[str, Any]) -> Tensor:
    picture, kernel = inputs[:2]
    if picture.dtype != kernel.dtype:  # what is remembered has 32 bits, whatever the weights have
        picture = picture.to(kernel.dtype)
    bias = inputs[2] if len(inputs) > 2 else None
    groups = int(picture.shape[1]) // int(kernel.shape[1])
    _, rows, columns, _ = attributes["strides"]
    if set(attributes.get("dilations", ())) - {1}:
        raise NotImplementedError("a convolution with gaps")
    if attributes["padding"] == "SAME":
        steps = zip(picture.shape[2:], kernel.shape[2:], (rows, columns), strict=True)
        (above, below), (left, right) = (_same(int(n), int(k), step) for n, k, step in steps)
        if (above, left) == (below, right):
            edge: tuple[int, int] | int = (above, left)
        else:
            picture, edge = F.pad(picture, (left, right, above, below)), 0
    else:
        edge = 0
    made = F.conv2d(picture, kernel, bias, stride=(rows, columns), padding=edge, groups=groups)
    after = [name for name in attributes.get("fused_ops", ()) if name != "BiasAdd"]
    for name in after:
        made = _ONE[name](made)
    return made


def _same(length: int, kernel: int, step: int) -> tuple[int, int]:
    """TensorFlow's padding before and after: the odd pixel comes after."""
    total = max((-(-length // step) - 1) * step + kernel - length, 0)
    return total // 2, total - total // 2


def _pool(inputs: Sequence[Value], attributes: Mapping[str, Any]) -> Tensor:
    if attributes["padding"] != "SAME" or attributes["ksize"] != (1, 2, 2, 1):
        raise NotImplementedError("another pooling than of two by two")
    # What lies outside does not count: so it is in TensorFlow.
    return F.avg_pool2d(inputs[0], 2, 2, ceil_mode=True, count_include_pad=False)


def _resize(inputs: Sequence[Value], attributes: Mapping[str, Any]) -> Tensor:
    picture, size = inputs
    if attributes["align_corners"] or not attributes["half_pixel_centers"]:
        raise NotImplementedError("resizing by the corners")
    return F.interpolate(picture, tuple(map(int, size)), mode="bilinear", align_corners=False)


def _pad(inputs: Sequence[Value], attributes: Mapping[str, Any]) -> Tensor:
    picture, edges = inputs
    (_, _), (above, below), (left, right), (_, _) = edges.tolist()
    return F.pad(picture, (left, right, above, below))


def _mean(inputs: Sequence[Value], attributes: Mapping[str, Any]) -> Tensor:
    picture, axes = inputs
    made: Tensor = picture.mean([_PLACE[axis] for axis in np.atleast_1d(axes)], keepdim=True)
    return made


def _concatenate(inputs: Sequence[Value], attributes: Mapping[str, Any]) -> Tensor:
    *parts, axis = inputs
    return torch.cat(parts, _PLACE[int(axis)])


def _split(inputs: Sequence[Value], attributes: Mapping[str, Any]) -> tuple[Tensor, ...]:
    axis, picture = inputs
    return torch.chunk(picture, attributes["num_split"], _PLACE[int(axis)])


def _split_by(inputs: Sequence[Value], attributes: Mapping[str, Any]) -> tuple[Tensor, ...]:
    picture, sizes, axis = inputs
    return torch.split(picture, sizes.tolist(), _PLACE[int(axis)])


def _slice(inputs: Sequence[Value], attributes: Mapping[str, Any]) -> Tensor:
    picture, begin, size = inputs
    for place, first, length in zip(_PLACE, begin.tolist(), size.tolist(), strict=True):
        if first or length != -1:
            whole = int(picture.shape[place])
            picture = picture.narrow(place, first, whole - first if length == -1 else length)
    made: Tensor = picture
    return made


def _broadcast(inputs: Sequence[Value], attributes: Mapping[str, Any]) -> Tensor:
    tensor, shape = inputs
    made: Tensor = tensor.expand(*(int(shape[at]) for at in (0, 3, 1, 2)))
    return made


def _apart(inputs: Sequence[Value], attributes: Mapping[str, Any]) -> Tensor:
    """SpaceToBatchND: every second pixel becomes a picture of its own."""
    picture, block, edges = inputs
    (above, below), (left, right) = edges.tolist()
    rows, columns = block.tolist()
    picture = F.pad(picture, (left, right, above, below))
    count, channels, height, width = map(int, picture.shape)
    parts = picture.reshape(count, channels, height // rows, rows, width // columns, columns)
    return parts.permute(3, 5, 0, 1, 2, 4).reshape(
        rows * columns * count, channels, height // rows, width // columns
    )


def _together(inputs: Sequence[Value], attributes: Mapping[str, Any]) -> Tensor:
    """BatchToSpaceND: undoes `_apart`."""
    parts, block, edges = inputs
    (above, below), (left, right) = edges.tolist()
    rows, columns = block.tolist()
    count, channels, height, width = map(int, parts.shape)
    count //= rows * columns
    picture = parts.reshape(rows, columns, count, channels, height, width)
    picture = picture.permute(2, 3, 4, 0, 5, 1).reshape(
        count, channels, height * rows, width * columns
    )
    made: Tensor = picture[:, :, above : height * rows - below, left : width * columns - right]
    return made


# -- shapes --------------------------------------------------------------------------------------


def _shape(inputs: Sequence[Value], attributes: Mapping[str, Any]) -> NDArray[np.int64]:
    sizes = [int(size) for size in inputs[0].shape]
    return np.array([sizes[place] for place in _PLACE])


def _strided_slice(inputs: Sequence[Value], attributes: Mapping[str, Any]) -> Value:
    vector, begin, end, step = inputs
    [first], [last], [stride] = begin.tolist(), end.tolist(), step.tolist()
    if attributes.get("shrink_axis_mask"):
        return vector[first]
    if attributes.get("begin_mask") or attributes.get("ellipsis_mask"):
        raise NotImplementedError("a slice with open ends")
    return vector[first : None if attributes.get("end_mask") else last : stride]


def _pack(inputs: Sequence[Value], attributes: Mapping[str, Any]) -> Value:
    return np.stack([np.asarray(each) for each in inputs], attributes.get("axis", 0))


# -- numbers by numbers --------------------------------------------------------------------------


def _by_element(function: Callable[[Any, Any], Any]) -> Operation:
    def operation(inputs: Sequence[Value], attributes: Mapping[str, Any]) -> Value:
        first, second = inputs
        if isinstance(first, Tensor) or isinstance(second, Tensor):
            first, second = _beside(first, second), _beside(second, first)
        return function(first, second)

    return operation


def _beside(value: Value, other: Value) -> Value:
    """A vector stands for channels beside a picture; those of a graph are last."""
    if isinstance(value, Tensor) and value.dim() == 1 and other.dim() == 4:
        return value.view(-1, 1, 1)
    return value


def _alone(function: Callable[[Tensor], Tensor]) -> Operation:
    return lambda inputs, attributes: function(inputs[0])


_ONE: dict[str, Callable[[Tensor], Tensor]] = {
    "Relu": torch.relu,
    "Relu6": F.relu6,
    "Sigmoid": torch.sigmoid,
    "Tanh": torch.tanh,
    "Square": torch.square,
}

OPERATIONS: dict[str, Operation] = {
    "Add": _by_element(lambda a, b: a + b),
    "AddV2": _by_element(lambda a, b: a + b),
    "Sub": _by_element(lambda a, b: a - b),
    "Mul": _by_element(lambda a, b: a * b),
    "RealDiv": _by_element(lambda a, b: a / b),
    "FloorMod": _by_element(lambda a, b: a % b),
    "AvgPool": _pool,
    "BatchToSpaceND": _together,
    "BroadcastTo": _broadcast,
    "ConcatV2": _concatenate,
    "Conv2D": _convolve,
    "_FusedConv2D": _convolve,
    "DepthwiseConv2dNative": _convolve,
    "FusedDepthwiseConv2dNative": _convolve,
    "Identity": lambda inputs, attributes: inputs[0],
    "Mean": _mean,
    "Pack": _pack,
    "Pad": _pad,
    "ResizeBilinear": _resize,
    "Shape": _shape,
    "Slice": _slice,
    "SpaceToBatchND": _apart,
    "Split": _split,
    "SplitV": _split_by,
    "StridedSlice": _strided_slice,
    "Switch": lambda inputs, attributes: (inputs[0], inputs[0]),
    **{name: _alone(function) for name, function in _ONE.items()},
}

#: Those whose second input are the weights of a convolution.
CONVOLUTIONS = frozenset(name for name, operation in OPERATIONS.items() if operation is _convolve)

#: Those that give what they take.
PASSING = frozenset({"Identity", "Switch"})
