"""Findings on cores, memory, disk and limits of the machine or of its container."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.doctor.findings import Finding
from orchestrator.doctor.trials import DiskTrial, Trials
from orchestrator.machine.devices import CORES_PER_LANE, default_lanes, usable_cores, usable_memory
from orchestrator.words import counted, readable_size
from pipeline.text import printable

GROUP = "machine"

DISK_DEADLINE_S = 60.0
_DISK_BYTES = 64 << 20

#: A source of 100 Mbit/s at its own speed takes 12 MB/s to read, its outputs about as much to
#: write, and twice that while they are joined.
_SLOW_DISK = 30e6
_LITTLE_ROOM, _NO_ROOM = 20e9, 2e9

#: `orchestrator/machine/segment_memory.py` plans with nine tenths of the memory. The first is what
#: a worker (1 GB) and one segment of RVM at 3840x1920 (6.5 GB) take; with less than the second even
#: small pictures do not fit.
_LITTLE_MEMORY, _NO_MEMORY = 8.5e9, 2e9

#: A worker has some 30 threads and processes a lane.
_FEW_PROCESSES, _FEW_FILES = 512, 256

_CGROUP = Path("/sys/fs/cgroup")
_SHM = Path("/dev/shm")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run may use.

    Attributes:
        memory_of_machine: bytes; `memory` is less if a container limits it.
        processes: most at a time; None: unlimited.
        files: most that a process may have open.
        shm: bytes of /dev/shm; None: it is missing, or cannot be written.
    """

    cores: int
    cores_of_machine: int
    memory: int
    memory_of_machine: int
    processes: int | None
    files: int
    shm: int | None


def find_limits(cgroup: Path = _CGROUP, shm: Path = _SHM) -> Limits:
    return Limits(
        cores=usable_cores(),
        cores_of_machine=os.cpu_count() or 1,
        memory=usable_memory(),
        memory_of_machine=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        processes=_number(cgroup / "pids.max"),
        files=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        shm=_shm_bytes(shm),
    )


def limit_findings(limits: Limits, workers: int = 1) -> Iterator[Finding]:
    """What the limits mean for a run, one finding each.

    Args:
        workers: of a run on all devices.
    """
    of = f" of the machine's {limits.cores_of_machine}"
    share = of if limits.cores < limits.cores_of_machine else ""
    if limits.cores < CORES_PER_LANE:
        yield Finding(
            GROUP,
            "cores",
            "warning",
            f"{limits.cores}{share}: decoder, network and encoder take turns",
            f"rent {CORES_PER_LANE} or more for each segment in flight",
        )
    else:
        lanes = counted(default_lanes(limits.cores, workers), "segment")
        each = f" in each of {workers} workers" if workers > 1 else ""
        said = f"{limits.cores}{share}: enough for {lanes} at once{each}"
        yield Finding(GROUP, "cores", "ok", said)
    yield _memory(limits)
    if limits.shm is None:
        yield Finding(
            GROUP,
            "/dev/shm",
            "warning",
            "it cannot be written",
            "give the container one (--shm-size)",
        )
    else:
        size = readable_size(limits.shm)
        yield Finding(GROUP, "/dev/shm", "ok", f"{size}; no frames pass through it")
    yield from _counts(limits)


def _memory(limits: Limits) -> Finding:
    said = readable_size(limits.memory)
    if limits.memory < limits.memory_of_machine:
        said += (
            f" (the container's limit; the machine has {readable_size(limits.memory_of_machine)})"
        )
    if limits.memory < _NO_MEMORY:
        advice = f"rent {readable_size(_LITTLE_MEMORY)} or more, or raise the container's limit"
        return Finding(GROUP, "memory", "broken", f"{said}: too little to load a model", advice)
    if limits.memory < _LITTLE_MEMORY:
        return Finding(
            GROUP,
            "memory",
            "warning",
            f"{said}: too little for pictures of 4K on the CPU",
            "keep to smaller videos there, or raise the container's limit",
        )
    return Finding(GROUP, "memory", "ok", said)


def _counts(limits: Limits) -> Iterator[Finding]:
    processes = "any number of" if limits.processes is None else str(limits.processes)
    said = f"{processes} processes, {limits.files} open files"
    few = limits.processes is not None and limits.processes < _FEW_PROCESSES
    if few or limits.files < _FEW_FILES:
        yield Finding(
            GROUP,
            "limits",
            "warning",
            f"{said}: few for several lanes",
            "raise --pids-limit and `ulimit -n`, or set streaming.lanes: 1",
        )
    else:
        yield Finding(GROUP, "limits", "ok", said)


def disk_finding(folder: Path, trials: Trials, *, is_out: bool = True) -> Finding:
    """Room and speed of the disk of `folder`, which need not exist yet.

    A dead network disk blocks the process that asks it, so a child process does.

    Args:
        is_out: outputs will go there; otherwise it need not be writable.
    """
    name, shown = "disk", printable(str(folder))
    place = os.path.abspath(folder)  # noqa: PTH100  asks no disk
    tried = trials.run(DiskTrial(place, _DISK_BYTES), DISK_DEADLINE_S)
    if tried.outcome == "failed" and not is_out:
        return Finding(GROUP, name, "warning", f"{shown}: {tried.said}", "name OUT with --out")
    if tried.outcome != "works":
        advice = "choose another folder with --out, or repair that disk"
        return Finding(GROUP, name, "broken", f"{shown}: {tried.said}", advice)
    figures = tried.figures
    said = (
        f"{shown}: {readable_size(figures['free'])} of {readable_size(figures['total'])} free,"
        f" writes {readable_size(figures['write'])}/s, reads {readable_size(figures['read'])}/s"
    )
    if figures["free"] < _NO_ROOM:
        advice = "make room, or choose another folder with --out"
        return Finding(GROUP, name, "broken", f"{said}: too little", advice)
    if figures["free"] < _LITTLE_ROOM:
        return Finding(
            GROUP,
            name,
            "warning",
            said,
            "`vrmatte run --dry-run` shows what a batch needs (see also limits.scratch_gb)",
        )
    if min(figures["write"], figures["read"]) < _SLOW_DISK:
        advice = "choose a local disk for OUT: encoders would wait for this one"
        return Finding(GROUP, name, "warning", f"{said}: slow", advice)
    return Finding(GROUP, name, "ok", said)


def _number(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _shm_bytes(shm: Path) -> int | None:
    try:
        if not os.access(shm, os.W_OK):
            return None
        room = os.statvfs(shm)
    except OSError:
        return None
    return room.f_blocks * room.f_frsize
