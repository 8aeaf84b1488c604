"""Show the doctor's findings on a terminal: each with a level, a colour and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Self

from orchestrator.doctor.findings import Finding, worst
from orchestrator.words import counted
from pipeline.text import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

    from orchestrator.doctor.everywhere import NodeReport

STYLE = {
    "ok": "green",
    "passed": "green",
    "warning": "yellow",
    "skipped": "yellow",
    "broken": "bold red",
    "failed": "bold red",
}
_LEVEL_WIDTH, _NAME_WIDTH = 8, 18

#: All on one line where it can be read so; text wider than that is hard to follow.
_WIDEST = 120


class Lines:
    """Prints lines under headings, each folded within its own column.

    Args:
        console: of whatever width.
        name_width: columns for names; longer ones are folded.
    """

    def __init__(self, console: Console, name_width: int) -> None:
        self._console = console
        self._name_width = name_width
        self._group = ""

    def show(self, group: str, level: str, name: str, said: str, advice: str) -> None:
        from rich.padding import Padding
        from rich.table import Table
        from rich.text import Text

        if group != self._group:
            self._group = group
            self._console.print(Text(f"\n{printable(group)}", style="bold"))
        table = Table.grid(padding=(0, 1))
        table.add_column(width=_LEVEL_WIDTH, no_wrap=True)
        table.add_column(width=self._name_width, overflow="fold")
        table.add_column(overflow="fold")
        text = Text(printable(said))
        if advice:
            text.append(f"\n-> {printable(advice)}", style=STYLE.get(level, ""))
        table.add_row(Text(level, style=STYLE.get(level, "")), Text(printable(name)), text)
        width = min(self._console.width, _WIDEST)
        self._console.print(Padding(table, (0, 0, 0, 1)), width=width)


def show_findings(
    console: Console, findings: Iterable[Finding], pause: Callable[[], None] = lambda: None
) -> list[Finding]:
    """Show findings as they come, then the verdict; returns all of them.

    Args:
        pause: called before a line is shown, to take a moving line off the screen.
    """
    lines, shown = Lines(console, _NAME_WIDTH), []
    for finding in findings:
        pause()
        lines.show(finding.group, finding.level, finding.name, finding.said, finding.advice)
        shown.append(finding)
    pause()
    _show_verdict(console, "machine", shown)
    return shown


def show_reports(console: Console, reports: Iterable[NodeReport]) -> list[Finding]:
    """Show the findings on each node, then the verdict; returns all findings."""
    from rich.text import Text

    shown: list[Finding] = []
    for report in reports:
        where = ", this machine" if report.here else ""
        title = printable(f"node {report.name} ({report.address}){where}")
        style = f"reverse {STYLE[worst(report.findings)]}"
        console.print(Text("\n").append(title, style))
        lines = Lines(console, _NAME_WIDTH)
        for finding in report.findings:
            lines.show(finding.group, finding.level, finding.name, finding.said, finding.advice)
        shown += report.findings
    _show_verdict(console, "cluster", shown)
    return shown


def _show_verdict(console: Console, what: str, shown: Sequence[Finding]) -> None:
    counts = {
        level: sum(f.level == level for f in shown) for level in ("broken", "warning", "skipped")
    }
    told = [
        counted(count, level) if level == "warning" else f"{count} {level}"
        for level, count in counts.items()
        if count
    ]
    verdict = {
        "ok": f"this {what} is ready",
        "warning": f"this {what} works; see the warnings",
        "broken": f"this {what} is not ready: {counted(counts['broken'], 'thing')} to repair",
    }[worst(shown)]
    rest = f" ({', '.join(told)})" if told else ""
    console.print(f"\n{verdict}{rest}", markup=False)


class Working:
    """Shows on a terminal what is done at the moment; does nothing anywhere else.

    Args:
        console: of the terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.pause()

    def on(self, what: str) -> None:
        from rich.text import Text

        self.pause()
        if self._console.is_terminal:
            self._status = self._console.status(Text(printable(what)))
            self._status.start()

    def pause(self) -> None:
        """Take it off the screen."""
        if self._status is not None:
            self._status.stop()
            self._status = None
