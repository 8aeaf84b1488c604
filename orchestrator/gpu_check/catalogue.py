"""The catalogue of steps: one row a step, in the order in which they run. Nothing else lists them.

A new step is one function in `steps/` and one row here. A row is plain data; what it names is
loaded in the step's own process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

from orchestrator.gpu_check.machine import Machine

#: Of GPU time, for all rows that run by themselves together.
TOTAL_S = 900.0

#: Why a step has nothing to look at on that machine, or None.
Needs = Callable[[Machine], str | None]


def nothing(machine: Machine) -> str | None:
    return None


def two_cards(machine: Machine) -> str | None:
    count = len(machine.cards)
    return None if count >= 2 else f"there is {count} GPU here"


def command(name: str) -> Needs:
    """A command of vrmatte."""

    def needs(machine: Machine) -> str | None:
        there = find_spec(f"orchestrator.commands.{name}") is not None
        return None if there else f"this version has no `vrmatte {name}`"

    return needs


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step.

    Attributes:
        name: as it is typed.
        words: what it shows.
        limit_s: after so long it is ended with all that it started, and has failed.
        run: ``"module:attribute"``: an `orchestrator.gpu_check.site.Run`.
        needs: what the machine must have; where it does not, the step is absent.
        by_itself: it runs where no step is named.
    """

    name: str
    words: str
    limit_s: float
    run: str
    needs: Needs = nothing
    by_itself: bool = True


_STEPS = "orchestrator.gpu_check.steps"

STEPS: tuple[Step, ...] = (
    Step(
        name="machine",
        words="driver, capabilities, video libraries, CUDA code for this card, MIG",
        limit_s=45,  # PyTorch is read from the disk for the first time
        run=f"{_STEPS}.driver:look",
    ),
    Step(
        name="nvenc",
        words="one frame by each way to NVENC, with the library's own words",
        limit_s=45,
        run=f"{_STEPS}.nvenc:each_way",
    ),
    Step(
        name="nvdec",
        words="NVDEC's frames against the CPU's, bit for bit",
        limit_s=100,
        run=f"{_STEPS}.nvdec:bit_for_bit",
    ),
    Step(
        name="busy",
        words="the same frames while the lane's stream has 200 ms of work before it; three lanes",
        limit_s=65,
        run=f"{_STEPS}.busy:behind_work",
    ),
    Step(
        name="lanes",
        words="tests of lanes, streams, CUDA graphs, and NVENC's pictures by each way",
        limit_s=75,
        run=f"{_STEPS}.tested:lanes",
    ),
    Step(
        name="kernels",
        words="tests of Triton's kernels, and the counts that are predicted",
        limit_s=60,
        run=f"{_STEPS}.tested:kernels",
    ),
    Step(
        name="segment",
        words="a segment of 8K, rvm and webm, 8 and 10 bits: stages, GPU memory",
        limit_s=105,
        run=f"{_STEPS}.segment:of_8k",
    ),
    Step(
        name="ceiling",
        words="1, 2, 4 and 8 lanes of 8K without an encoder, 20 s each; kernels and gaps",
        limit_s=135,
        run=f"{_STEPS}.ceiling:lanes_without_encoder",
    ),
    Step(
        name="nvenc-speed",
        words="NVENC at 8K by each way; nine sessions at once",
        limit_s=70,
        run=f"{_STEPS}.nvenc:speed",
    ),
    Step(
        name="copies",
        words="copies to pinned memory, and pipes",
        limit_s=25,
        run=f"{_STEPS}.copies:rates",
    ),
    Step(
        name="enhance",
        words="`vrmatte enhance` with span: twice as large",
        limit_s=45,
        run=f"{_STEPS}.commands:enhance",
        needs=command("enhance"),
    ),
    Step(
        name="engines",
        words="`vrmatte engines list` and `build`",
        limit_s=45,
        run=f"{_STEPS}.commands:engines",
        needs=command("engines"),
    ),
    Step(
        name="two-gpus",
        words="a run on two GPUs gives the file of a run on one",
        limit_s=55,
        run=f"{_STEPS}.commands:two_gpus",
        needs=two_cards,
    ),
    Step(
        name="memory",
        words="want of memory inside the decoder conceals no frame",
        limit_s=30,
        run=f"{_STEPS}.starved:decoder",
    ),
    Step(
        name="all-tests",
        words="all tests that need a GPU",
        limit_s=1200,
        run=f"{_STEPS}.tested:everything",
        by_itself=False,
    ),
    Step(
        name="gates",
        words="`vrmatte gates --through 4`",
        limit_s=900,
        run=f"{_STEPS}.commands:gates",
        by_itself=False,
    ),
    Step(
        name="bench",
        words="`vrmatte bench` of rvm at 4K and 8K",
        limit_s=900,
        run=f"{_STEPS}.commands:bench",
        by_itself=False,
    ),
)


def step_named(name: str) -> Step:
    """Raises KeyError: there is none of that name."""
    return {step.name: step for step in STEPS}[name]


def chosen(names: tuple[str, ...]) -> tuple[Step, ...]:
    """The steps of these names in the catalogue's order; without names those that run by
    themselves.

    Raises:
        KeyError: there is none of such a name.
    """
    for name in names:
        step_named(name)
    return tuple(s for s in STEPS if (s.name in names if names else s.by_itself))
