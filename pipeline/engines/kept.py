"""Engines whose work is kept in files: built at once, or opened by the digest of a file.

Whatever serves comes out of a file's bytes, whether it was kept or has just been made, and was
compared with torch before (`trust.py`).
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

import torch
from torch import nn

from pipeline.engines.by_torch import TorchEngine, first_line
from pipeline.engines.compiled_files import CompiledFiles, Kept, Key
from pipeline.engines.engine import Engine, Example, Runner
from pipeline.engines.trust import distrust
from pipeline.errors import MachineError
from pipeline.structlog_import import structlog

_log = structlog.get_logger()

#: Contents that stay in memory, to make further runners of (20 MB each).
_CONTENTS = 4


class Builder(Protocol):
    """What compiles networks. Thread-safe but for `build`."""

    def build(self, network: nn.Module, example: Example) -> bytes:
        """What a network compiles to; may take minutes. Raises RuntimeError."""
        ...

    def open(self, content: bytes, example: Example) -> Runner:
        """What runs it. Raises RuntimeError: it is not for this machine, or not for the example."""
        ...


class BuiltAtOnce:
    """An `Engine` that builds what is not kept yet, before the first frame. Thread-safe.

    Args:
        key_of: the key of a network and an example.
    """

    def __init__(
        self,
        name: str,
        builder: Builder,
        files: CompiledFiles,
        key_of: Callable[[nn.Module, Example], Key],
    ) -> None:
        self._name = name
        self._builder = builder
        self._files = files
        self._key_of = key_of
        self._lock = threading.Lock()
        self._contents: OrderedDict[Key, bytes] = OrderedDict()

    def load(self, network: nn.Module, example: Example) -> Runner:
        key = self._key_of(network, example)
        with self._lock:
            content, runner = self._known(key, example)
            if content is None or runner is None:
                try:
                    content = self._builder.build(network, example)
                    runner = self._builder.open(content, example)
                except RuntimeError as error:
                    raise MachineError(
                        f"{self._name} cannot take the network: {first_line(error)}", USE_TORCH
                    ) from error
                if why := distrust(runner, _torch(network, example), example):
                    raise MachineError(f"{self._name} is not to be trusted here: {why}", USE_TORCH)
                self._files.keep(key, content)
            self._contents[key] = content
            if len(self._contents) > _CONTENTS:
                self._contents.popitem(last=False)
            return runner

    def _known(self, key: Key, example: Example) -> tuple[bytes | None, Runner | None]:
        content = self._contents.get(key)
        if content is None:
            kept = self._files.read(key)
            content = None if kept is None or kept.refused is not None else kept.content
        try:
            return content, None if content is None else self._builder.open(content, example)
        except RuntimeError as error:  # it is whole, and the library does not want it
            _log.warning("compiled_refused", why=first_line(error))
            return None, None


class OpenedFile:
    """An `Engine` that serves what one file was built for, and has `otherwise` serve the rest.

    Which of the two serves follows from the file and the shapes alone. It never gives way to the
    other where the file fails: the frames of a video would come from both.

    Args:
        digest: of the file.
        name: of the engine.
    """

    def __init__(
        self, name: str, builder: Builder, files: CompiledFiles, digest: str, otherwise: Engine
    ) -> None:
        kept = files.of_digest(digest)
        if kept is None or kept.refused is not None or kept.key.engine != name:
            raise MachineError(f"the engine {digest[:12]} of {name} is not here", RUN_AGAIN)
        self._kept: Kept = kept
        self._name = name
        self._builder = builder
        self._otherwise = otherwise
        self._files = files
        self._lock = threading.Lock()
        self._trusted = False

    def load(self, network: nn.Module, example: Example) -> Runner:
        if example.shapes != self._kept.key.shapes:
            return self._otherwise.load(network, example)
        with self._lock:
            try:
                runner = self._builder.open(self._kept.content, example)
            except torch.OutOfMemoryError:  # not the engine's fault
                raise
            except RuntimeError as error:
                raise self._refused(first_line(error)) from error
            if not self._trusted:
                if why := distrust(runner, _torch(network, example), example):
                    raise self._refused(why)
                self._trusted = True
            return runner

    def _refused(self, why: str) -> MachineError:
        self._files.refuse(self._kept.key, why)
        return MachineError(
            f"the engine {self._kept.digest[:12]} of {self._name} is not to be trusted: {why}",
            RUN_AGAIN,
        )


def built_and_compared(
    network: nn.Module, example: Example, builder: Builder, files: CompiledFiles, key: Key
) -> Kept:
    """What is kept of `key`, built if it is not there, opened here and compared with torch.

    What cannot be opened, or is not to be trusted, is refused, which is kept as well. A build that
    fails may have lacked memory: the next run tries again.
    """
    kept = files.read(key)
    if kept is not None and kept.refused is not None:
        return kept
    content = None if kept is None else kept.content
    if content is None:
        try:
            content = builder.build(network, example)
        except RuntimeError as error:
            return Kept(key, "", f"it cannot be built: {first_line(error)}", b"")
    try:
        why = distrust(builder.open(content, example), _torch(network, example), example)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        why = first_line(error)
    if why is None and kept is not None:
        return kept
    if why is None:
        return Kept(key, files.keep(key, content), None, content)
    files.refuse(key, why)
    return Kept(key, "", why, b"")


def _torch(network: nn.Module, example: Example) -> Runner:
    return TorchEngine(1, torch.device("cpu")).load(network, example)


USE_TORCH = "set processing.engine: torch"
RUN_AGAIN = "the same command makes the video by torch, or by the engine that is there then"


def network_digest(network: nn.Module) -> str:
    """Of all parameters and buffers, hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy())
    return digest.hexdigest()
