"""`rvm` on a GPU: the network at its own size as one CUDA graph, the full picture outside of it.

At its own size the network is hundreds of kernels that take less time than launching them; what
touches every pixel is a dozen, in 32 bits, a plane at a time. Frames go through the network one by
one, so that chunks cannot matter. A graph does what the same calls do one by one, and is used where
it has shown to give the same bits: whether there is one alters nothing but speed.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.engines.cuda_graph import Capture, capture_lock
from pipeline.kernels.way import TORCH, Way
from pipeline.pixels.batches import EyeBatch, MatteBatch
from pipeline.stages.matting.rvm.base import RvmBase
from pipeline.stages.matting.rvm.coefficients import coefficients_of
from pipeline.structlog_import import structlog

_log = structlog.get_logger()

#: Networks with their graphs kept for the next segments: two shapes for each of some lanes.
_IDLE = 16

#: Frames of noise by which a graph is compared with the calls one by one.
_TRIAL_FRAMES = 3


@dataclass(slots=True, weakref_slot=True)
class _State:
    shrinker: Shrinker
    step: Step


class DeviceMatting(RvmBase):
    """See `pipeline.stages.matting.base.BoxModel`.

    Args:
        network: RVM's, on the CPU; it moves to `device`.
        ratio: network size as a share of an eye; None chooses it by the eye's size.
        dtype: of the network, and of the mattes.
        capture: makes graphs; None: everything is called one by one.
        way: what draws full pictures.
    """

    def __init__(
        self,
        network: nn.Module,
        ratio: float | None,
        dtype: torch.dtype,
        device: torch.device,
        capture: Capture | None,
        way: Way = TORCH,
    ) -> None:
        super().__init__(ratio)
        self._way = way
        self._dtype = dtype
        self._device = device
        network = on_device(network, dtype, device)
        # It divides by variances that 16 bits do not hold; at the network's size it costs nothing.
        network.refiner.float()
        self._steps = _Steps(network, dtype, device, capture)

    def begin(self, eyes: int, height: int, width: int, ratio: float, refine: bool) -> _State:
        shrinker = Shrinker(height, width, ratio, self._device)
        step = self._steps.take((eyes, 3, *shrinker.size), refine)
        state = _State(shrinker, step)
        weakref.finalize(state, self._steps.give_back, step).atexit = False
        return state

    @torch.inference_mode()
    def look(self, picture: Tensor, looking: _State) -> Tensor:
        looking.step.rewind()
        _, offset = looking.step.run(looking.shrinker.shrink(picture))
        return offset[:, 3].clamp(0, 1)

    def memory(self, state: _State) -> tuple[Tensor, ...]:
        return state.step.states

    @torch.inference_mode()
    def remember(self, state: _State, memory: tuple[Tensor, ...]) -> None:
        for place, value in zip(state.step.states, memory, strict=True):
            place.copy_(value)

    @torch.inference_mode()
    def matte(self, eyes: EyeBatch, state: _State) -> MatteBatch:
        count, views, _, height, width = eyes.rgb.shape
        small = state.shrinker.shrink(eyes.rgb)
        slope = small.new_empty(count, views, 4, *small.shape[-2:])
        offset = torch.empty_like(slope)
        for t in range(count):
            slope[t], offset[t] = state.step.run(small[t])
        foreground = torch.empty(
            count, views, 3, height, width, dtype=self._dtype, device=self._device
        )
        alpha = foreground.new_empty(count, views, 1, height, width)
        self._way.draw(eyes.rgb, slope, offset, foreground, alpha)
        return MatteBatch(alpha, foreground, eyes.start)


class Shrinker:
    """Pictures to the network's size: bilinear without a low pass, as RVM does it.

    It reads the pixels that count and no others; PyTorch's own wants all of them in floats.

    Args:
        height, width: of an eye.
        ratio: their size for the network as a share of theirs.
    """

    def __init__(self, height: int, width: int, ratio: float, device: torch.device) -> None:
        self.size = int(height * ratio), int(width * ratio)
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


#: Shape of the input, whether the answer is refined, and the stream: what one lane left on its
#: stream is done before the next begins there.
Key = tuple[tuple[int, ...], bool, int]


class Step:
    """The network for frames of one shape, and the recurrent state of the segment that has it.

    Input, state and answer stay where they are in memory, so that the work on them can be captured.
    Not thread-safe.

    Args:
        key: with the shape of its input, ``[E, 3, h, w]``.
    """

    def __init__(self, part: nn.Module, key: Key, dtype: torch.dtype, device: torch.device) -> None:
        self.key = key
        self._part = part
        self._small = torch.zeros(key[0], dtype=dtype, device=device).to(
            memory_format=torch.channels_last
        )
        slope, offset, *states = part(self._small)
        self._answer = torch.zeros_like(slope), torch.zeros_like(offset)
        self.states = tuple(torch.zeros_like(state) for state in states)
        self._run: Callable[[], None] = self._work

    def rewind(self) -> None:
        for state in self.states:
            state.zero_()

    def run(self, small: Tensor) -> tuple[Tensor, Tensor]:
        """Slope and offset of the next frame, see `Coefficients`; valid until the next call."""
        self._small.copy_(small)
        self._run()
        return self._answer

    def capture(self, capture: Capture) -> str | None:
        """Make a graph of the work and use it; why not, if not."""
        generator = torch.Generator().manual_seed(1)  # noise, so that a wrong answer shows
        noise = [torch.rand(self._small.shape, generator=generator) for _ in range(_TRIAL_FRAMES)]
        expected = self._trial(noise)
        try:
            self._run = capture(self._work)
            found = self._trial(noise)
        except RuntimeError as error:
            self._run = self._work
            return (str(error).splitlines() or [type(error).__name__])[0]
        finally:
            self.rewind()
        if all(map(torch.equal, found, expected)):
            return None
        self._run = self._work
        return "it does not give the same bits"

    def _work(self) -> None:
        slope, offset, *states = self._part(self._small, *self.states)
        for place, value in zip(
            (*self._answer, *self.states), (slope, offset, *states), strict=True
        ):
            place.copy_(value)

    def _trial(self, frames: list[Tensor]) -> list[Tensor]:
        self.rewind()
        found: list[Tensor] = []
        for frame in frames:
            found += [value.clone() for value in self.run(frame)]
        return found + [state.clone() for state in self.states]


class _Steps:
    """Steps by their shape: one a segment. Thread-safe."""

    def __init__(
        self, network: nn.Module, dtype: torch.dtype, device: torch.device, capture: Capture | None
    ) -> None:
        self._parts = {refine: coefficients_of(network, refine) for refine in (False, True)}
        self._dtype = dtype
        self._device = device
        self._capture = capture
        self._lock = threading.Lock()
        self._idle: deque[Step] = deque(maxlen=_IDLE)  # appended to without the lock
        self._told: set[str] = set()

    @torch.inference_mode()
    def take(self, shape: tuple[int, ...], refine: bool) -> Step:
        """One that is at its beginning, for a segment to have alone."""
        key = shape, refine, self._stream()
        with self._lock:
            for _ in range(len(self._idle)):
                step = self._idle.popleft()
                if step.key == key:
                    step.rewind()
                    return step
                self._idle.append(step)
        with capture_lock:
            step = Step(self._parts[refine], key, self._dtype, self._device)
            why_not = None if self._capture is None else step.capture(self._capture)
        if why_not is not None and why_not not in self._told:
            self._told.add(why_not)
            _log.warning("no_cuda_graph", shape=shape, reason=why_not)
        return step

    def give_back(self, step: Step) -> None:
        """Without the lock, for it may be the garbage collector that calls."""
        self._idle.append(step)

    def _stream(self) -> int:
        if self._device.type != "cuda":
            return 0
        return int(torch.cuda.current_stream(self._device).cuda_stream)


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
