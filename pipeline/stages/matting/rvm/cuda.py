"""`rvm` on a GPU: the network at its own size by an engine, the full picture outside of it.

At its own size the network is hundreds of kernels that take less time than launching them; what
touches every pixel is a dozen, in 32 bits, a plane at a time. Frames go through the network one by
one, so that chunks cannot matter. What runs the network is an engine (`pipeline/engines`).
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.engines.engine import Engine, Runner, Runners
from pipeline.kernels.way import TORCH, Way
from pipeline.pixels.batches import EyeBatch, MatteBatch
from pipeline.stages.matting.rvm.base import RvmBase
from pipeline.stages.matting.rvm.coefficients import coefficients_of
from pipeline.stages.matting.rvm.recurrence import example_of, recurrence_in_32_bits
from pipeline.stages.matting.rvm.sizes import network_size

#: Networks with their graphs kept for the next segments: two shapes for each of some lanes.
_IDLE = 16


@dataclass(slots=True, weakref_slot=True)
class _State:
    shrinker: Shrinker
    runner: Runner


#: Shape of the input, whether the answer is refined, and the stream: what one lane left on its
#: stream is done before the next begins there.
_Key = tuple[tuple[int, ...], bool, int]


class DeviceMatting(RvmBase):
    """See `pipeline.stages.matting.base.BoxModel`.

    Args:
        network: RVM's, on the CPU; it moves to `device`.
        ratio: network size as a share of an eye; None chooses it by the eye's size.
        dtype: of the network, and of the mattes.
        engine: runs the network.
        way: what draws full pictures.
    """

    def __init__(
        self,
        network: nn.Module,
        ratio: float | None,
        dtype: torch.dtype,
        device: torch.device,
        engine: Engine,
        way: Way = TORCH,
    ) -> None:
        super().__init__(ratio)
        self._way = way
        self._dtype = dtype
        self._device = device
        self._engine = engine
        self._parts = parts_on_device(network, dtype, device)
        self._runners = Runners(self._make, _IDLE)

    def begin(self, eyes: int, height: int, width: int, ratio: float, refine: bool) -> _State:
        shrinker = Shrinker(height, width, ratio, self._device)
        key = (eyes, 3, *shrinker.size), refine, self._stream()
        runner = self._runners.take(key)
        state = _State(shrinker, runner)
        weakref.finalize(state, self._runners.give_back, key, runner).atexit = False
        return state

    @torch.inference_mode()
    def look(self, picture: Tensor, looking: _State) -> Tensor:
        looking.runner.rewind()
        _, offset = looking.runner(looking.shrinker.shrink(picture))
        return offset[:, 3].clamp(0, 1)

    def memory(self, state: _State) -> tuple[Tensor, ...]:
        return tuple(state.runner.states)

    @torch.inference_mode()
    def remember(self, state: _State, memory: tuple[Tensor, ...]) -> None:
        for place, value in zip(state.runner.states, memory, strict=True):
            place.copy_(value)

    @torch.inference_mode()
    def matte(self, eyes: EyeBatch, state: _State) -> MatteBatch:
        count, views, _, height, width = eyes.rgb.shape
        small = state.shrinker.shrink(eyes.rgb)
        slope = small.new_empty(count, views, 4, *small.shape[-2:])
        offset = torch.empty_like(slope)
        for t in range(count):
            slope[t], offset[t] = state.runner(small[t])
        foreground = torch.empty(
            count, views, 3, height, width, dtype=self._dtype, device=self._device
        )
        alpha = foreground.new_empty(count, views, 1, height, width)
        self._way.draw(eyes.rgb, slope, offset, foreground, alpha)
        return MatteBatch(alpha, foreground, eyes.start)

    def _make(self, key: _Key) -> Runner:
        shape, refine, _ = key
        part = self._parts[refine]
        return self._engine.load(
            part, example_of(part, small_input(shape, self._dtype, self._device))
        )

    def _stream(self) -> int:
        if self._device.type != "cuda":
            return 0
        return int(torch.cuda.current_stream(self._device).cuda_stream)


def parts_on_device(
    network: nn.Module, dtype: torch.dtype, device: torch.device
) -> dict[bool, nn.Module]:
    """What engines run of RVM's network: without its refiner, and with it.

    Args:
        network: on the CPU; it moves to `device`, and to `dtype` but for what divides by variances
            that 16 bits do not hold, and for what remembers. At the network's size it costs little.
    """
    network = on_device(network, dtype, device)
    network.refiner.float()
    recurrence_in_32_bits(network)
    return {refine: coefficients_of(network, refine) for refine in (False, True)}


def small_input(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """An input of the network, ``[E, 3, h, w]``, laid out as a GPU's convolutions want it."""
    return torch.zeros(shape, dtype=dtype, device=device).to(memory_format=torch.channels_last)


class Shrinker:
    """Pictures to the network's size: bilinear without a low pass, as RVM does it.

    It reads the pixels that count and no others; PyTorch's own wants all of them in floats.

    Args:
        height, width: of an eye.
        ratio: their size for the network as a share of theirs.
    """

    def __init__(self, height: int, width: int, ratio: float, device: torch.device) -> None:
        self.size = network_size(height, width, ratio)
        self._rows = _between(height, self.size[0], ratio, device)
        self._columns = _between(width, self.size[1], ratio, device)

    def shrink(self, pictures: Tensor) -> Tensor:
        """Uint8 ``[..., H, W]`` -> float32 ``[..., h, w]``, 0..1."""
        above, below, down = self._rows
        left, right, across = self._columns
        rows = []
        for place in (above, below):
            row = pictures.index_select(-2, place)
            first, second = (row.index_select(-1, column).float() for column in (left, right))
            rows.append(first.lerp_(second, across))
        return rows[0].lerp_(rows[1], down[:, None]).div_(255)


def _between(
    length: int, target: int, ratio: float, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """For each of `target` places: the pixel before it, the one after, and the share of that."""
    place = (torch.arange(target, dtype=torch.float64) + 0.5) / ratio - 0.5
    place = place.clamp(0, length - 1)
    before = place.floor()
    after = (before + 1).clamp(max=length - 1)
    return (
        before.long().to(device),
        after.long().to(device),
        (place - before).float().to(device),
    )


def on_device(network: nn.Module, dtype: torch.dtype, device: torch.device) -> nn.Module:
    """The network there, laid out as a GPU's convolutions want it, and waiting for nothing."""
    network = network.to(device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    _normalize_without_waiting(network, dtype, device)
    return network


def _normalize_without_waiting(network: Any, dtype: torch.dtype, device: torch.device) -> None:
    """Give RVM's backbone a `normalize` that can be captured.

    torchvision's brings its constants over and looks at them on the host, for every frame.
    """
    functional: Any = import_module("torchvision.transforms.functional")
    if (backbone := getattr(network, "backbone", None)) is None:
        return
    module: Any = sys.modules[type(backbone).__module__]
    waits = getattr(module, "normalize", None) is functional.normalize
    if waits:
        module.normalize = _Normalize(functional.normalize)
    if isinstance(getattr(module, "normalize", None), _Normalize):
        # Constants are made now, on the stream on which everything else of the model is.
        with torch.inference_mode():
            backbone(torch.zeros(1, 3, 64, 64, dtype=dtype, device=device))


class _Normalize:
    """torchvision's `normalize`: the same bits, and the constants stay on the device."""

    def __init__(self, original: Callable[..., Tensor]) -> None:
        self._original = original
        self._constants: dict[Any, tuple[Tensor, Tensor]] = {}

    def __call__(
        self, tensor: Tensor, mean: list[float], std: list[float], inplace: bool = False
    ) -> Tensor:
        if inplace or not all(std):
            return self._original(tensor, mean, std, inplace)
        key = tuple(mean), tuple(std), tensor.dtype, tensor.device
        if key not in self._constants:
            with torch.inference_mode(False):
                made = [
                    torch.tensor(values, dtype=tensor.dtype, device=tensor.device).view(-1, 1, 1)
                    for values in (mean, std)
                ]
            self._constants[key] = made[0], made[1]
        middle, spread = self._constants[key]
        return (tensor - middle).div_(spread)
