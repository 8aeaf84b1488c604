"""`rvm` on a CPU by OpenVINO: the network at its own size there, the full picture outside of it.

Frames go through one by one, so that chunks cannot matter; with the small network they gain nothing
by company. OpenVINO's own `convert_model` is not used because it reports its use over the network.
"""

from __future__ import annotations

import threading
import warnings
import weakref
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import openvino as ov  # type: ignore[import-untyped]
import torch
from openvino import properties
from openvino.frontend import FrontEndManager  # type: ignore[import-untyped]
from openvino.frontend.pytorch.ts_decoder import (  # type: ignore[import-untyped]
    TorchScriptPythonDecoder,
)
from torch import Tensor, nn

from pipeline.engines.compiled_files import CompiledFiles, code_digest, network_digest, processor
from pipeline.errors import MachineError
from pipeline.pixels.batches import EyeBatch, MatteBatch
from pipeline.stages.matting.rvm.base import RvmBase
from pipeline.stages.matting.rvm.coefficients import (
    PARTS_TOLERANCE,
    apply_coefficients,
    coefficients_of,
    parts_problem,
    shrink,
)
from pipeline.structlog_import import structlog

#: Networks kept for the next segment when theirs has ended (0.1 GB each), and the compiled ones
#: of which they are made (20 MB).
_IDLE = 2
_COMPILED = 4

_log = structlog.get_logger()

_USE_TORCH = "set processing.engine: torch"


@dataclass(slots=True, weakref_slot=True)
class _State:
    ratio: float
    stream: _Stream


class OpenVinoMatting(RvmBase):
    """See `pipeline.stages.matting.base.BoxModel`.

    Args:
        network: RVM's, in fp32 on the CPU.
        ratio: network size as a share of an eye; None chooses it by the eye's size.
        threads: of one frame's computation.
        code: of the network, a file or a folder.
        kept: folder for compiled networks.

    Raises:
        MachineError: the network is not built as RVM's is.
    """

    def __init__(
        self, network: nn.Module, ratio: float | None, threads: int, code: Path, kept: Path
    ) -> None:
        if (problem := parts_problem(network)) is not None:
            raise MachineError(problem, _USE_TORCH)
        cv2.setNumThreads(threads)
        super().__init__(ratio)
        self._streams = _Streams(network, threads, code, kept)

    def begin(self, eyes: int, height: int, width: int, ratio: float, refine: bool) -> _State:
        shape = (eyes, 3, int(height * ratio), int(width * ratio))  # see `shrink`
        stream = self._streams.take((shape, refine))
        state = _State(ratio, stream)
        weakref.finalize(state, self._streams.give_back, stream).atexit = False
        return state

    @torch.inference_mode()
    def look(self, picture: Tensor, looking: _State) -> Tensor:
        looking.stream.rewind()
        _, offset = looking.stream.step(shrink(picture, looking.ratio))
        return offset[:, 3].clamp(0, 1)

    def memory(self, state: _State) -> tuple[Tensor, ...]:
        return tuple(state.stream.states)

    @torch.inference_mode()
    def remember(self, state: _State, memory: tuple[Tensor, ...]) -> None:
        for place, value in zip(state.stream.states, memory, strict=True):
            place.copy_(value)

    @torch.inference_mode()
    def matte(self, eyes: EyeBatch, state: _State) -> MatteBatch:
        frames, count, _, height, width = eyes.rgb.shape
        foreground = torch.empty(frames, count, 3, height, width)
        alpha = torch.empty(frames, count, 1, height, width)
        for t, picture in enumerate(eyes.rgb):
            slope, offset = state.stream.step(shrink(picture, state.ratio))
            for e in range(count):
                apply_coefficients(
                    picture[e], slope[e], offset[e], foreground[t, e], alpha[t, e, 0]
                )
        return MatteBatch(alpha, foreground, eyes.start)


#: PyTorch's tracer keeps some of what it is at for the whole process, whoever's network it is.
_TRACING = threading.Lock()

#: Shape of the network's input ``[E, 3, h, w]``, and whether its answer is refined.
_Key = tuple[tuple[int, ...], bool]


class _Streams:
    """Compiled networks by the shape of their input: one a segment, since one runs once at a time.

    Thread-safe. Which of several equal ones a segment gets does not matter: all come out of the
    same bytes, whether those were kept or have just been made.
    """

    def __init__(self, network: nn.Module, threads: int, code: Path, kept: Path) -> None:
        self._network = network
        self._core = ov.Core()
        self._options = {
            properties.hint.inference_precision(): ov.Type.f32,
            properties.hint.enable_cpu_pinning(): False,  # several of them share the cores
            properties.inference_num_threads(): threads,
            properties.num_streams(): 1,
        }
        self._files = CompiledFiles(kept, self._made_of(code))
        self._lock = threading.Lock()
        self._compiled: OrderedDict[_Key, bytes] = OrderedDict()
        self._idle: deque[_Stream] = deque(maxlen=_IDLE)  # appended to without the lock

    def take(self, key: _Key) -> _Stream:
        """One that is at its beginning, for a state to have alone. Raises MachineError."""
        with self._lock:
            for _ in range(len(self._idle)):
                stream = self._idle.popleft()
                if stream.key == key:
                    stream.rewind()
                    return stream
                self._idle.append(stream)
            try:
                return self._make(key)
            except RuntimeError as error:
                first_line = (str(error).splitlines() or [""])[0]
                raise MachineError(
                    f"OpenVINO cannot take RVM's network: {first_line}", _USE_TORCH
                ) from error

    def give_back(self, stream: _Stream) -> None:
        """Without the lock, for it may be the garbage collector that calls."""
        self._idle.append(stream)

    def _make(self, key: _Key) -> _Stream:
        content = self._compiled.get(key) or self._files.read(key)
        stream = None if content is None else self._kept_stream(key, content)
        if content is None or stream is None:
            content, stream = self._compile(key)
            self._files.keep(key, content)
        self._compiled[key] = content
        if len(self._compiled) > _COMPILED:
            self._compiled.popitem(last=False)
        return stream

    def _kept_stream(self, key: _Key, content: bytes) -> _Stream | None:
        try:
            return self._stream(key, content)
        except RuntimeError as error:  # it is whole, and OpenVINO does not want it
            first_line = (str(error).splitlines() or [""])[0]
            _log.warning("compiled_refused", why=first_line)
            return None

    def _compile(self, key: _Key) -> tuple[bytes, _Stream]:
        # Noise, so that a wrong answer shows.
        sample = torch.rand(key[0], generator=torch.Generator().manual_seed(1))
        part = coefficients_of(self._network, key[1])
        with torch.inference_mode():
            expected = part(sample)
        with _TRACING:
            model = _convert(part, sample, [tuple(state.shape) for state in expected[2:]])
        content = self._core.compile_model(model, "CPU", self._options).export_model().getvalue()
        stream = self._stream(key, content)
        _require_equal(sample, expected, stream)
        stream.rewind()
        return content, stream

    def _stream(self, key: _Key, content: bytes) -> _Stream:
        compiled = self._core.import_model(content, "CPU", self._options)
        states = [tuple(given.shape) for given in compiled.inputs[1:]]
        return _Stream(key, compiled.create_infer_request(), states)

    def _made_of(self, code: Path) -> list[str]:
        here = Path(__file__)
        return [
            network_digest(self._network),
            code_digest(code, here, here.with_name("coefficients.py")),
            f"torch {torch.__version__}, OpenVINO {ov.get_version()}",
            str({name: str(value) for name, value in self._options.items()}),
            processor(),
        ]


class _Stream:
    """A compiled network and the recurrent state of the segment that has it. Not thread-safe."""

    def __init__(self, key: _Key, request: Any, states: Sequence[tuple[int, ...]]) -> None:
        eyes, _, height, width = key[0]
        self.key = key
        self._request = request
        self._small = torch.empty(key[0])
        self._answer = [torch.empty(eyes, 4, height, width) for _ in range(2)]
        # Read and written by turns.
        self._states = [[torch.zeros(shape) for shape in states] for _ in range(2)]
        self._shared = [[_share(state) for state in turn] for turn in self._states]
        request.set_input_tensor(0, _share(self._small))
        for number, tensor in enumerate(self._answer):
            request.set_output_tensor(number, _share(tensor))

    def rewind(self) -> None:
        for turn in self._states:
            for state in turn:
                state.zero_()

    def step(self, small: Tensor) -> tuple[Tensor, Tensor]:
        """Slope and offset of the next frame, see `Coefficients`; valid until the next call."""
        self._small.copy_(small)
        old, new = self._shared
        for number in range(4):
            self._request.set_input_tensor(1 + number, old[number])
            self._request.set_output_tensor(2 + number, new[number])
        self._request.infer()
        self._states.reverse()
        self._shared.reverse()
        return self._answer[0], self._answer[1]

    @property
    def states(self) -> list[Tensor]:
        """The recurrent state after the last step."""
        return self._states[0]


def _share(tensor: Tensor) -> Any:
    """The same memory as OpenVINO's tensor."""
    return ov.Tensor(tensor.numpy(), shared_memory=True)


def _convert(part: nn.Module, sample: Tensor, states: Sequence[tuple[int, ...]]) -> Any:
    """OpenVINO's model of `part` for exactly these shapes."""
    example = (sample, *(torch.zeros(shape) for shape in states))
    with warnings.catch_warnings(), torch.inference_mode():
        # torch.jit.trace is deprecated; torch.export takes several times as long.
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(part, example, check_trace=False)  # type: ignore[no-untyped-call]
        decoder = TorchScriptPythonDecoder(traced)  # must outlive the conversion
        front_end = FrontEndManager().load_by_framework("pytorch")
        model = front_end.convert(front_end.load(decoder))
    model.reshape({number: list(tensor.shape) for number, tensor in enumerate(example)})
    return model


def _require_equal(sample: Tensor, expected: tuple[Tensor, ...], stream: _Stream) -> None:
    slope, offset = stream.step(sample)
    picture = torch.cat([sample, sample.sum(1, keepdim=True)], 1) * 255
    pairs = [
        ((slope * picture + offset).clamp(0, 1), (expected[0] * picture + expected[1]).clamp(0, 1)),
        *zip(stream.states, expected[2:], strict=True),
    ]
    worst = max(float((ours - theirs).abs().max()) for ours, theirs in pairs)
    if not worst <= PARTS_TOLERANCE:
        raise MachineError(
            f"OpenVINO's answer for RVM differs from torch's by {worst:.3f} here", _USE_TORCH
        )
