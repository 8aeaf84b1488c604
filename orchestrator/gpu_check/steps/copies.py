"""Step `copies`: from the GPU to pinned memory, and through pipes to encoders."""

from __future__ import annotations

import re
import subprocess
import sys
import time

import torch

from orchestrator.gpu_check.predicted import beside, expected
from orchestrator.gpu_check.results import Result, passed
from orchestrator.gpu_check.site import ROOT, Site, Tell
from pipeline.files.child import own_environment, tied
from pipeline.flow.device_copies import HostRing

_ROUNDS = 30


def rates(site: Site, tell: Tell) -> None:
    """See `orchestrator.gpu_check.site.Run`."""
    tell(pinned(site))
    tell(pipes(site))


def pinned(site: Site) -> Result:
    """Planes of one frame of WebM at 8K, copied as a segment copies them."""
    width, height = site.large
    planes = torch.zeros(1, width * height * 5 // 2, dtype=torch.uint8, device=site.device)
    ring = HostRing(3)

    def copied() -> None:
        with ring.begin(planes).arrived() as data:
            assert data.device.type == "cpu"

    copied()
    began = time.perf_counter()
    for _ in range(_ROUNDS):
        copied()
    rate = _ROUNDS * planes.numel() / (time.perf_counter() - began) / 1e9
    key, card = "GB/s to pinned memory", site.machine.card
    found = beside(key, card, rate)
    return passed("copies to pinned memory", expected(key, card), found, gigabytes_per_second=rate)


def pipes(site: Site) -> Result:
    """By `benchmarks/pipe.py`, one round."""
    command = [sys.executable, "-P", str(ROOT / "benchmarks/pipe.py"), "1"]
    done = subprocess.run(
        tied(command), capture_output=True, text=True, check=False, env=own_environment()
    )
    found = {
        f"{name}_{kib}_kib_gigabytes_per_second": float(rate)
        for name, kib, rate in re.findall(r"(\w+) +(\d+) KiB: ([\d.]+) GB/s", done.stdout)
    }
    what, wanted = "pipes", "GB/s of each size of pipe"
    if done.returncode != 0 or not found:
        said = done.stderr.strip()
        return Result(what, wanted, (said.splitlines() or ["no line"])[-1], "FAILED", said=said)
    words = ", ".join(f"{name.partition('_kib')[0]} KiB {rate:g}" for name, rate in found.items())
    return Result(what, wanted, words.replace("_", " "), "ok", found, done.stdout)
