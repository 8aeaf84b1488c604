"""TensorRT 11: networks built for one GPU, by measuring kernels there. Not run on a GPU yet.

A network of TensorRT 11 is always strongly typed: it works in the types that the ONNX file says, so
that halves and the 32-bit states of the network stay what they are. Two builds may choose other
kernels, so that frames depend on the file (docs/decisions/036-engines.md).
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.engines.engine import Example, Runner
from pipeline.engines.onnx_export import as_onnx, input_names, output_name

#: GPU memory that kernels may use beside the tensors, in bytes.
_WORKSPACE = 1 << 30


def _current_stream(device: torch.device) -> int:
    return int(torch.cuda.current_stream(device).cuda_stream)


class TensorRt:
    """See `pipeline.engines.kept.Builder`.

    Args:
        threads: not used.
        device: a GPU.
        library: the module ``tensorrt``, or a double.
        export: the network as ONNX.
        stream: the handle of the stream on which calls are made.
    """

    def __init__(
        self,
        threads: int,
        device: torch.device,
        library: Any = None,
        export: Callable[[nn.Module, Example], bytes] = as_onnx,
        stream: Callable[[torch.device], int] = _current_stream,
    ) -> None:
        del threads
        self._trt = import_module("tensorrt") if library is None else library
        self._device = device
        self._export = export
        self._stream = stream
        self._logger = self._trt.Logger(self._trt.Logger.ERROR)
        self._runtime = self._trt.Runtime(self._logger)

    def build(self, network: nn.Module, example: Example) -> bytes:
        trt = self._trt
        builder = trt.Builder(self._logger)
        definition = builder.create_network()
        parser = trt.OnnxParser(definition, self._logger)
        if not parser.parse(self._export(network, example)):
            whys = [str(parser.get_error(number)) for number in range(parser.num_errors)]
            raise RuntimeError(f"TensorRT cannot read the network: {'; '.join(whys)[:300]}")
        config = builder.create_builder_config()
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, _WORKSPACE)
        config.clear_flag(trt.BuilderFlag.TF32)  # fp32 means it
        profile = builder.create_optimization_profile()
        for name, tensor in zip(input_names(example), example.inputs, strict=True):
            best = tuple(tensor.shape)
            least = most = best
            if example.most_batch is not None:
                least, most = (1, *best[1:]), (example.most_batch, *best[1:])
            profile.set_shape(name, least, best, most)
        if config.add_optimization_profile(profile) < 0:
            raise RuntimeError("TensorRT does not take the shapes of the network")
        plan = builder.build_serialized_network(definition, config)
        if plan is None:
            raise RuntimeError("TensorRT could not build the network (its log says why)")
        return bytes(plan)

    def open(self, content: bytes, example: Example) -> Runner:
        engine = self._runtime.deserialize_cuda_engine(content)
        if engine is None:
            raise RuntimeError("TensorRT does not take the file: it is of another version or GPU")
        return _Runner(self._trt, engine, example, self._device, self._stream)


class _Runner:
    """See `pipeline.engines.engine.Runner`."""

    def __init__(
        self,
        trt: Any,
        engine: Any,
        example: Example,
        device: torch.device,
        stream: Callable[[torch.device], int],
    ) -> None:
        self._engine = engine  # must outlive its context
        self._device = device
        self._stream = stream
        self._context = engine.create_execution_context()
        if self._context is None:
            raise RuntimeError("TensorRT has no memory for the engine")
        types = {
            trt.DataType.FLOAT: torch.float32,
            trt.DataType.HALF: torch.float16,
            trt.DataType.BF16: torch.bfloat16,
        }
        there = [engine.get_tensor_name(number) for number in range(engine.num_io_tensors)]
        inputs = input_names(example)
        outputs = [output_name(number) for number in range(len(there) - len(inputs))]
        if sorted(there) != sorted([*inputs, *outputs]):
            raise RuntimeError(f"the engine has other inputs and outputs: {', '.join(there)}")
        for name, tensor in zip(inputs, example.inputs, strict=True):
            if types.get(engine.get_tensor_dtype(name)) != tensor.dtype:
                raise RuntimeError(f"the engine's {name} is not {tensor.dtype}")
            if not self._context.set_input_shape(name, tuple(tensor.shape)):
                raise RuntimeError(f"the engine does not take {tuple(tensor.shape)} as {name}")
        made = [
            torch.zeros(
                tuple(self._context.get_tensor_shape(name)),
                dtype=types[engine.get_tensor_dtype(name)],
                device=device,
            )
            for name in outputs
        ]
        count = len(made) - len(example.states)
        self._answers, states = made[:count], made[count:]
        for state, wanted in zip(states, example.states, strict=True):
            if state.shape != wanted.shape or state.dtype != wanted.dtype:
                raise RuntimeError("the engine hands on other states than it takes")
        # TensorRT reads memory as it lies: row by row, whatever the example's order of channels.
        self._given = [
            torch.zeros(tuple(each.shape), dtype=each.dtype, device=device)
            for each in example.given
        ]
        # Read and written by turns.
        self._states = [states, [torch.zeros_like(state) for state in states]]
        self._state_inputs = inputs[len(self._given) :]
        self._state_outputs = outputs[count:]
        for name, tensor in zip(inputs[: len(self._given)], self._given, strict=True):
            self._address(name, tensor)
        for name, tensor in zip(outputs[:count], self._answers, strict=True):
            self._address(name, tensor)

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
        old, new = self._states
        for name, state in zip(self._state_inputs, old, strict=True):
            self._address(name, state)
        for name, state in zip(self._state_outputs, new, strict=True):
            self._address(name, state)
        if not self._context.execute_async_v3(self._stream(self._device)):
            raise RuntimeError("TensorRT could not run the engine")
        self._states.reverse()
        return self._answers

    def _address(self, name: str, tensor: Tensor) -> None:
        if not self._context.set_tensor_address(name, tensor.data_ptr()):
            raise RuntimeError(f"TensorRT does not take the memory of {name}")
