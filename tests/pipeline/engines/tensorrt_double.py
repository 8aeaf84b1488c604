"""A double of the package ``tensorrt`` 11.4 for tensors of the CPU, with its signatures.

`SIGNATURES` are as the real package states them; `test_tensorrt.py` holds both to them. An engine
here runs the torch network by the addresses that it is given.
"""

from __future__ import annotations

import ctypes
import pickle
from enum import Enum, IntEnum
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.engines.engine import Example
from pipeline.engines.tensorrt import TensorRt
from tests.render import CPU

VERSION = "11.4.0.106"

#: Class -> method -> its parameters without the first; None: a property.
SIGNATURES: dict[str, dict[str, tuple[str, ...] | None]] = {
    "Logger": {"__init__": ("min_severity",)},
    "Builder": {
        "__init__": ("logger",),
        "create_network": ("flags",),
        "create_optimization_profile": (),
        "create_builder_config": (),
        "build_serialized_network": ("network", "config"),
    },
    "IBuilderConfig": {
        "set_memory_pool_limit": ("pool", "pool_size"),
        "clear_flag": ("flag",),
        "add_optimization_profile": ("profile",),
    },
    "IOptimizationProfile": {"set_shape": ("input", "min", "opt", "max")},
    "OnnxParser": {
        "__init__": ("network", "logger"),
        "parse": ("model", "path"),
        "get_error": ("index",),
        "num_errors": None,
    },
    "Runtime": {
        "__init__": ("logger",),
        "deserialize_cuda_engine": ("serialized_engine",),
    },
    "ICudaEngine": {
        "create_execution_context": ("strategy",),
        "num_io_tensors": None,
        "get_tensor_name": ("index",),
        "get_tensor_dtype": ("name",),
    },
    "IExecutionContext": {
        "set_input_shape": ("name", "shape"),
        "get_tensor_shape": ("name",),
        "set_tensor_address": ("name", "memory"),
        "execute_async_v3": ("stream_handle",),
    },
}

#: Members of enumerations that are used.
MEMBERS = {
    "DataType": ("FLOAT", "HALF", "BF16"),
    "MemoryPoolType": ("WORKSPACE",),
    "BuilderFlag": ("TF32",),
}


class DataType(Enum):
    FLOAT = 0
    HALF = 1
    BF16 = 7


_TYPES = {torch.float32: DataType.FLOAT, torch.float16: DataType.HALF}

STREAM = 4242


class Severity(IntEnum):
    ERROR = 1
    WARNING = 2


class Logger:
    ERROR = Severity.ERROR

    def __init__(self, min_severity: Severity = Severity.WARNING) -> None:
        assert isinstance(min_severity, Severity)


class INetworkDefinition:
    content: bytes = b""


class OnnxParser:
    def __init__(self, network: INetworkDefinition, logger: Logger) -> None:
        self._network = network
        self.num_errors = 0

    def parse(self, model: bytes, path: str | None = None) -> bool:
        self._network.content = model
        self.num_errors = int(not model)
        return bool(model)

    def get_error(self, index: int) -> str:
        assert index < self.num_errors
        return "In node 3 with name: conv: UNSUPPORTED_NODE"


class IOptimizationProfile:
    def __init__(self) -> None:
        self.shapes: dict[str, Any] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        self.shapes[input] = (min, opt, max)


class IBuilderConfig:
    def __init__(self) -> None:
        self.profiles: list[IOptimizationProfile] = []
        self.tf32 = True

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        assert (pool, pool_size > 0) == (MemoryPoolType.WORKSPACE, True)

    def clear_flag(self, flag: Any) -> None:
        assert flag == BuilderFlag.TF32
        self.tf32 = False

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        if not all(
            a <= b <= c
            for least, best, most in profile.shapes.values()
            for a, b, c in zip(least, best, most, strict=True)
        ):
            return -1
        self.profiles.append(profile)
        return len(self.profiles) - 1


class Builder:
    def __init__(self, logger: Logger) -> None:
        assert isinstance(logger, Logger)

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        return INetworkDefinition()

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    def build_serialized_network(
        self, network: INetworkDefinition, config: IBuilderConfig
    ) -> bytes | None:
        [profile] = config.profiles
        assert not config.tf32
        if network.content == b"too large":
            return None
        return pickle.dumps((VERSION, network.content, profile.shapes))


class Runtime:
    def __init__(self, logger: Logger) -> None:
        assert isinstance(logger, Logger)

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        try:
            version, content, shapes = pickle.loads(serialized_engine)
        except pickle.UnpicklingError:
            return None
        return ICudaEngine(pickle.loads(content), shapes) if version == VERSION else None


class ICudaEngine:
    def __init__(self, network: nn.Module, shapes: dict[str, Any]) -> None:
        self.network = network
        self.profile = shapes
        given = [torch.zeros(best) for _, best, _ in shapes.values()]
        made = network(*given)
        self.names = [*shapes, *(f"out_{number}" for number in range(len(made)))]
        self._types = dict(zip(self.names, (_TYPES[t.dtype] for t in (*given, *made)), strict=True))
        self.num_io_tensors = len(self.names)

    def create_execution_context(self, strategy: Any = None) -> IExecutionContext:
        return IExecutionContext(self)

    def get_tensor_name(self, index: int) -> str:
        return self.names[index]

    def get_tensor_dtype(self, name: str) -> Any:
        return self._types[name]


class IExecutionContext:
    def __init__(self, engine: ICudaEngine) -> None:
        self._engine = engine
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        least, _, most = self._engine.profile[name]
        self._shapes[name] = shape
        return all(a <= b <= c for a, b, c in zip(least, shape, most, strict=True))

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        if name in self._shapes:
            return self._shapes[name]
        made = self._engine.network(*map(torch.zeros, self._inputs()))
        return tuple(made[int(name.removeprefix("out_"))].shape)

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return name in self._engine.names

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert stream_handle == STREAM
        if set(self._addresses) != set(self._engine.names):
            return False
        given = [
            _at(self._addresses[name], shape).clone()
            for name, shape in zip(self._shapes, self._inputs(), strict=True)
        ]
        for number, made in enumerate(self._engine.network(*given)):
            _at(self._addresses[f"out_{number}"], tuple(made.shape)).copy_(made)
        return True

    def _inputs(self) -> list[tuple[int, ...]]:
        return list(self._shapes.values())


def _at(address: int, shape: tuple[int, ...]) -> Tensor:
    """The memory there, as float32."""
    count = torch.Size(shape).numel()
    memory = (ctypes.c_float * count).from_address(address)
    return torch.frombuffer(memory, dtype=torch.float32).view(shape)


class MemoryPoolType(Enum):
    WORKSPACE = 0


class BuilderFlag(Enum):
    TF32 = 5


def builder(exported: bytes | None = None) -> TensorRt:
    """TensorRT's builder on this double.

    Args:
        exported: what is given to it instead of the network.
    """
    import sys

    def export(network: nn.Module, example: Example) -> bytes:
        return pickle.dumps(network) if exported is None else exported

    return TensorRt(1, CPU, sys.modules[__name__], export, lambda device: STREAM)
