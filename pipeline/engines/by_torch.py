"""The engines that are torch: its calls one by one, as one CUDA graph, or compiled."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.engines.cuda_graph import Capture, capture_lock, cuda_capture
from pipeline.engines.engine import Example, Runner
from pipeline.errors import MachineError
from pipeline.structlog_import import structlog

_log = structlog.get_logger()

#: Sizes for which one network is compiled: boxes around people have some 200.
_MOST_SHAPES = 1024

#: Calls with noise by which a graph is compared with the calls one by one.
_TRIAL_CALLS = 3


class TorchRunner:
    """See `pipeline.engines.engine.Runner`.

    Inputs, states and answers stay where they are in memory, so that the work on them can be
    captured.
    """

    def __init__(self, network: Callable[..., Any], example: Example) -> None:
        self._network = network
        self._given = tuple(torch.zeros_like(each) for each in example.given)
        self.states = tuple(torch.zeros_like(each) for each in example.states)
        made = self._made()
        self._answers = tuple(torch.zeros_like(each) for each in made[: -len(self.states) or None])
        self._run: Callable[[], None] = self._work

    @torch.inference_mode()
    def rewind(self) -> None:
        for state in self.states:
            state.zero_()

    def __call__(self, *given: Tensor) -> tuple[Tensor, ...]:
        for place, value in zip(self._given, given, strict=True):
            place.copy_(value)
        self._run()
        return self._answers

    def capture(self, capture: Capture) -> str | None:
        """Make a graph of the work and use it; why not, if not."""
        generator = torch.Generator().manual_seed(1)  # noise, so that a wrong answer shows
        calls = [
            [torch.rand(each.shape, generator=generator) for each in self._given]
            for _ in range(_TRIAL_CALLS)
        ]
        expected = self._trial(calls)
        try:
            self._run = capture(self._work)
            found = self._trial(calls)
        except RuntimeError as error:
            self._run = self._work
            return (str(error).splitlines() or [type(error).__name__])[0]
        finally:
            self.rewind()
        if all(map(torch.equal, found, expected)):
            return None
        self._run = self._work
        return "it does not give the same bits"

    def _made(self) -> tuple[Tensor, ...]:
        made = self._network(*self._given, *self.states)
        return made if isinstance(made, tuple) else tuple(made)

    def _work(self) -> None:
        for place, value in zip((*self._answers, *self.states), self._made(), strict=True):
            place.copy_(value)

    def _trial(self, calls: list[list[Tensor]]) -> list[Tensor]:
        self.rewind()
        found: list[Tensor] = []
        for given in calls:
            found += [value.clone() for value in self(*given)]
        return found + [state.clone() for state in self.states]


class TorchEngine:
    """Its calls, one by one. See `pipeline.engines.engine.Engine`."""

    def __init__(self, threads: int, device: torch.device) -> None:
        del threads, device  # the process's own number of threads; tensors say where they are

    def load(self, network: nn.Module, example: Example) -> Runner:
        with torch.inference_mode(), capture_lock:
            return TorchRunner(network, example)


class CudaGraphEngine:
    """The same calls launched at once, where that alters no bit; else one by one, with a log line.

    Args:
        capture: makes graphs.
    """

    def __init__(self, threads: int, device: torch.device, capture: Capture = cuda_capture) -> None:
        del threads, device
        self._capture = capture
        self._told: set[str] = set()

    def load(self, network: nn.Module, example: Example) -> Runner:
        with torch.inference_mode(), capture_lock:
            runner = TorchRunner(network, example)
            why_not = runner.capture(self._capture)
        if why_not is not None and why_not not in self._told:
            self._told.add(why_not)
            _log.warning("no_cuda_graph", shapes=example.shapes, reason=why_not)
        return runner


class CompileEngine:
    """The network compiled by `torch.compile`, when it is first called."""

    def __init__(self, threads: int, device: torch.device) -> None:
        del threads, device
        self._compiled: dict[int, tuple[nn.Module, Callable[..., Any]]] = {}

    def load(self, network: nn.Module, example: Example) -> Runner:
        if id(network) not in self._compiled:  # held, so that its number stays its own
            self._compiled[id(network)] = network, compiled(network, most_shapes=_MOST_SHAPES)
        try:
            with torch.inference_mode(), capture_lock:
                return TorchRunner(self._compiled[id(network)][1], example)
        except COMPILER_ERRORS as error:
            raise MachineError(
                f"processing.engine: compile cannot be used on this machine: {first_line(error)}",
                "set processing.engine: auto",
            ) from error


#: What a compiler that is missing, or that fails, raises.
COMPILER_ERRORS = (RuntimeError, ImportError, OSError, subprocess.SubprocessError)


def compiled(
    function: Callable[..., Any], *, dynamic: bool = False, most_shapes: int | None = None
) -> Callable[..., Any]:
    """`torch.compile`, by rule: by measuring kernels another worker would choose other bits.

    Args:
        most_shapes: for which it is compiled, one after the other; more are an error. None: as
            many as torch allows, which are 8.
    """
    # The stubs of torch 2.15 do not know `recompile_limit`.
    made: Callable[..., Any] = torch.compile(  # type: ignore[call-overload]
        function,
        fullgraph=True,
        dynamic=dynamic,
        options={"deterministic": True},
        recompile_limit=most_shapes,
    )
    return made


def first_line(error: BaseException) -> str:
    """What an error says first."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
