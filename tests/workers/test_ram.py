from __future__ import annotations

import subprocess
import sys

import pytest

from pipeline.errors import ResourceError
from workers.ram import LOOK_EVERY_S, REST_S, RamGuard


class Machine:
    """Memory and a clock that the test sets."""

    def __init__(self, used: int) -> None:
        self.used = used
        self.now = 0.0
        self.looks = 0

    def resident(self) -> int:
        self.looks += 1
        return self.used

    def guard(self, limit: int | None) -> RamGuard:
        return RamGuard(limit, resident=self.resident, clock=lambda: self.now)


def test_within_the_share_nothing_happens() -> None:
    machine = Machine(100)
    guard = machine.guard(100)
    for _ in range(50):
        machine.now += LOOK_EVERY_S / 4
        guard.check()
    assert 10 <= machine.looks <= 15, "it looks now and then, not at every frame"


def test_without_a_limit_it_never_looks() -> None:
    machine = Machine(10**12)
    machine.guard(None).check()
    assert machine.looks == 0


def test_beyond_the_share_one_lane_gives_way_and_the_others_are_left_time() -> None:
    machine = Machine(3 * 10**9)
    guard = machine.guard(2 * 10**9)
    with pytest.raises(ResourceError, match=r"held 3\.0 GB of memory, its share is 2\.0 GB"):
        guard.check()
    machine.now += REST_S - 0.1
    guard.check()
    machine.now += 0.2
    with pytest.raises(ResourceError):
        guard.check()


#: Says how many bytes went back. The blocks are below malloc's threshold for mapping.
FREES = """
import os
from workers.ram import give_back_memory
from workers.telemetry import resident_bytes

blocks = [b"x" * 60_000 + bytes([n % 256]) for n in range(5000)]
full = resident_bytes(os.getpid())
pin = b"x" * 60_000 + bytes([len(blocks) % 251])  # keeps the heap's end in use
del blocks
give_back_memory()
assert len(pin) == 60_001
print(full - resident_bytes(os.getpid()))
"""


def test_freed_memory_goes_back_to_the_system() -> None:
    """In a process of its own: here, other tests' threads allocate, and their garbage is freed."""
    done = subprocess.run(
        [sys.executable, "-c", FREES], stdout=subprocess.PIPE, text=True, check=True
    )
    assert int(done.stdout) > 200_000_000
