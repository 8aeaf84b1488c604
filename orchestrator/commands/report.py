"""`vrmatte report`."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.commands.options import PATH, console


@click.command()
@click.argument("out", type=PATH, metavar="OUT")
@click.option("--pictures/--no-pictures", default=True, help="With pictures; they take a while.")
def report(out: Path, pictures: bool) -> None:
    """Write OUT/report.html anew, of what the last run left in OUT; also after it was killed.

    A run that is going on writes the page itself.
    """
    from orchestrator.report.again import write_again

    write_again(out, console(stderr=True), console(), pictures=pictures)
