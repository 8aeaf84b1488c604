"""Memory of a whole run: RSS of a command and of all that it starts, summed ten times a second.

    python benchmarks/run_memory.py vrmatte run CLIP -o OUT --model chroma

Printed are the peak of the sum in 10^9 bytes, who held it, and the peaks of each fifth of the time
from the first encoder to the last, in which memory that grows with length would show. Pages that
processes share (libraries) count in each.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass

import psutil

EVERY_S = 0.1
PARTS = 5


@dataclass(frozen=True, slots=True)
class Look:
    """RSS in bytes at one moment, by what each process does."""

    seconds: float
    by_role: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.by_role.values())


def main() -> None:
    command = sys.argv[1:]
    if not command:
        sys.exit(__doc__)
    begin = time.monotonic()
    looks = []
    with subprocess.Popen(command) as child:
        process = psutil.Process(child.pid)
        while child.poll() is None:
            looks.append(Look(time.monotonic() - begin, resident(process)))
            time.sleep(EVERY_S)
    peak = max(looks, key=lambda look: look.total)
    print(f"{looks[-1].seconds:.0f} s, ended with {child.returncode}")
    print(f"peak {peak.total / 1e9:.2f} GB at {peak.seconds:.0f} s: {shares(peak)}")
    print("alone at most:", ", ".join(f"{role} {most(looks, role):.2f}" for role in roles(looks)))
    coding = [look for look in looks if "encoders" in look.by_role]
    if coding:
        size = -(-len(coding) // PARTS)
        parts = [coding[at : at + size] for at in range(0, len(coding), size)]
        tops = [f"{max(look.total for look in part) / 1e9:.2f}" for part in parts]
        print("peaks of the fifths:", ", ".join(tops))


def resident(leader: psutil.Process) -> dict[str, int]:
    found: dict[str, int] = {}
    try:
        family = [leader, *leader.children(recursive=True)]
    except psutil.NoSuchProcess:
        return found
    for process in family:
        try:
            words = " ".join(process.cmdline())
            role = "leader" if process == leader else role_of(words)
            found[role] = found.get(role, 0) + process.memory_info().rss
        except psutil.Error:  # it has just ended
            continue
    return found


def role_of(words: str) -> str:
    if "vp9_alpha" in words or "ffmpeg" in words:
        return "encoders"
    if "spawn_main" in words:
        return "workers"
    return "trial" if "estimate.trial_child" in words else "others"


def roles(looks: list[Look]) -> list[str]:
    return sorted({role for look in looks for role in look.by_role})


def most(looks: list[Look], role: str) -> float:
    return max(look.by_role.get(role, 0) for look in looks) / 1e9


def shares(look: Look) -> str:
    return ", ".join(f"{role} {held / 1e9:.2f}" for role, held in sorted(look.by_role.items()))


if __name__ == "__main__":
    main()
