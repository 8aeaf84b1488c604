"""Show the gates' results on a terminal, check by check, and the verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from orchestrator.doctor.screen import Lines
from orchestrator.gates.checks import CheckResult
from orchestrator.gates.gates import GATES, failed_gate

if TYPE_CHECKING:
    from rich.console import Console

#: Of the names of checks, on wide terminals and on narrow ones, where they are folded.
_WIDE, _NAME_WIDTH, _NARROW_NAME_WIDTH = 100, 36, 26


def show_results(
    console: Console, found: Iterable[CheckResult], pause: Callable[[], None] = lambda: None
) -> list[CheckResult]:
    """Show results as they come; returns all of them.

    Args:
        pause: called before a line is shown, to take a moving line off the screen.
    """
    width = _NAME_WIDTH if console.width >= _WIDE else _NARROW_NAME_WIDTH
    lines, shown = Lines(console, width), []
    for result in found:
        pause()
        heading = f"gate {result.gate}: {GATES[result.gate][0]}"
        lines.show(heading, result.status, result.name, result.said, result.advice)
        shown.append(result)
    pause()
    return shown


def verdict(found: Sequence[CheckResult], numbers: Sequence[int]) -> str:
    """The verdict in one line.

    Args:
        numbers: the gates that were asked for.
    """
    counts = {
        status: sum(result.status == status for result in found)
        for status in ("passed", "skipped", "failed")
    }
    told = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    gate = failed_gate(found)
    if gate is None:
        return f"{_gates(numbers)} passed ({told})"
    left = [number for number in numbers if number > gate]
    return f"gate {gate} failed ({told})" + (f"; {_gates(left)} not tried" if left else "")


def _gates(numbers: Sequence[int]) -> str:
    if len(numbers) == 1:
        return f"gate {numbers[0]}"
    return f"gates {numbers[0]} to {numbers[-1]}"
