"""`vrmatte demo`."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.commands.options import PATH


@click.command()
@click.argument("folder", type=PATH, metavar="DIR")
@click.option(
    "--alpha",
    is_flag=True,
    help="Write the true alpha of each clip beside it, for `vrmatte bench --quality`. A run on DIR"
    " takes these for videos too: give it the clips by their names.",
)
def demo(folder: Path, alpha: bool) -> None:
    """Make three short VR180 clips in DIR, to try things on."""
    from orchestrator.demo.demo import make_demo

    for path in make_demo(folder, alpha=alpha):
        click.echo(path)
