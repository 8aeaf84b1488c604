"""Steps that go wrong in every way, as `orchestrator.gpu_check.site.Run`, and a site for steps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.gpu_check.catalogue import Step
from orchestrator.gpu_check.machine import Card, Machine
from orchestrator.gpu_check.results import Result, passed
from orchestrator.gpu_check.site import Site, Tell

if TYPE_CHECKING:
    import torch

#: A child of a hanging step's child: in a session of its own, and its parent is gone.
_ORPHAN = """
import os, sys, threading
if os.fork() == 0:
    os.setsid()
    with open(sys.argv[1], "w") as file:
        file.write(str(os.getpid()))
    threading.Event().wait()
"""


def step(name: str, limit_s: float = 60) -> Step:
    """The row of one of the steps below."""
    return Step(name=name, words=name, limit_s=limit_s, run=f"{__name__}:{name}")


def card(name: str, capability: tuple[int, int] | None, parts: int = 0) -> Card:
    return Card(name, "GPU-0", 24 * 10**9, capability, parts)


def machine(name: str, capability: tuple[int, int] | None, parts: int = 0) -> Machine:
    return Machine((card(name, capability, parts),), "610.43", "compute,utility,video", 16)


ADA = machine("NVIDIA RTX 6000 Ada Generation", (8, 9))
A100 = machine("NVIDIA A100-SXM4-80GB", (8, 0))


class HereSite(Site):
    """A real check's site, but for the device."""

    @property
    def device(self) -> torch.device:
        import torch

        return torch.device("cpu")


def right(site: Site, tell: Tell) -> None:
    tell(passed("a figure", "any", "not a number", seconds=float("nan"), frames=3.0))


def wrong(site: Site, tell: Tell) -> None:
    tell(passed("first", "1", "1"))
    tell(Result("second", "1", "2", "FAILED"))


def raises(site: Site, tell: Tell) -> None:
    tell(passed("first", "1", "1"))
    raise ValueError("a line\nand another")


def silent(site: Site, tell: Tell) -> None: ...


def crashes(site: Site, tell: Tell) -> None:
    tell(passed("first", "1", "1"))
    sys.stderr.write("double free or corruption\n")
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGKILL)


def hangs(site: Site, tell: Tell) -> None:
    place = Path(site.folder) / "orphan"
    subprocess.run([sys.executable, "-c", _ORPHAN, str(place)], check=True)
    while not (place.exists() and place.read_text()):
        os.sched_yield()
    tell(passed("first", "1", "1"))
    signal.pause()
