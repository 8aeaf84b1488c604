"""`vrmatte status`."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.commands.options import PATH, console


@click.command()
@click.argument("out", type=PATH, metavar="OUT")
def status(out: Path) -> None:
    """Show what is done in OUT, and what remains."""
    from orchestrator.watch.status import show_status

    show_status(out, console())
