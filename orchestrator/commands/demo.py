"""`vrmatte demo`."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.commands.options import PATH


@click.command()
@click.argument("folder", type=PATH, metavar="DIR")
def demo(folder: Path) -> None:
    """Make three short VR180 clips in DIR, to try things on."""
    from orchestrator.demo.demo import make_demo

    for path in make_demo(folder):
        click.echo(path)
