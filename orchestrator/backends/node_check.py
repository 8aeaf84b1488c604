"""Checks a machine of a cluster before it is given work; runs on that machine.

A node that does not see the sources as they are, or cannot write OUT, would only make errors.
"""

from __future__ import annotations

import platform
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from orchestrator.machine.devices import Gpu, list_gpus, usable_cores, usable_memory, visible_gpus
from orchestrator.machine.local_folder import refused_local_folder
from pipeline.contract import MattingSettings
from pipeline.errors import VrmatteError
from pipeline.files.disk import refusal
from pipeline.source.unchanged import fingerprint
from pipeline.text import printable

#: What decides what frames come out, or whether two nodes understand each other.
PACKAGES = ("vrmatte", "torch", "torchcodec")


@dataclass(frozen=True, slots=True)
class Source:
    """A source as the run knows it."""

    path: str
    size_bytes: int
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Node:
    """A machine by its own words.

    Attributes:
        memory_bytes: for all of its workers.
        versions: of what must be the same everywhere, by name.
    """

    host: str
    gpus: tuple[Gpu, ...]
    cores: int
    memory_bytes: int
    versions: dict[str, str]


def this_node() -> Node:
    """What this machine has."""
    return Node(
        host=socket.gethostname(),
        gpus=tuple(visible_gpus(list_gpus(), None)),
        cores=usable_cores(),
        memory_bytes=usable_memory(),
        versions=versions(),
    )


def versions() -> dict[str, str]:
    """Of what must be the same on all nodes; the driver's where there is a GPU."""
    driver = _driver()
    return package_versions() | ({"driver": driver} if driver else {})


def package_versions() -> dict[str, str]:
    """The same without the driver's, which may hang who asks it."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "missing"
    return found


def look(
    sources: Sequence[Source],
    out: str,
    token: str,
    models: Sequence[MattingSettings],
    fetch: Callable[[MattingSettings], object],
    local_folder: str | None = None,
) -> Node | str:
    """This machine, or in words why it cannot work on the run.

    Args:
        out: a folder of the run that must be writable.
        token: a file in `out` that the run has just written.
        models: those that will be needed; they are fetched.
        local_folder: this machine's own folder by that name must be writable too.
    """
    if not Path(out, token).is_file():
        return f"it does not see the output folder {printable(out)}"
    if (trouble := refusal(Path(out))) is not None:
        return f"it cannot write to {printable(out)}: {trouble.strerror}"
    if (refused := refused_local_folder(local_folder)) is not None:
        return refused
    for source in sources:
        if (difference := _differs(source)) is not None:
            return difference
    for matting in models:
        try:
            fetch(matting)
        except VrmatteError as error:
            return f"it has not the model {matting.model}: {error}"
    return this_node()


def difference(here: Node, there: Node) -> str | None:
    """In what the versions of two nodes differ, in words; None if in nothing."""
    names = dict.fromkeys([*here.versions, *there.versions])
    found = [
        f"{name} {there.versions.get(name, 'none')} there, {here.versions.get(name, 'none')} here"
        for name in names
        if here.versions.get(name) != there.versions.get(name)
    ]
    return "; ".join(found) or None


def _differs(source: Source) -> str | None:
    path = Path(source.path)
    shown = printable(source.path)
    try:
        size = path.stat().st_size
        same = size == source.size_bytes and fingerprint(path, size) == source.fingerprint
    except OSError as error:
        return f"it cannot read {shown}: {error.strerror}"
    return None if same else f"{shown} is another file there"


def _driver() -> str | None:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        return str(pynvml.nvmlSystemGetDriverVersion())
    finally:
        pynvml.nvmlShutdown()
