"""`vrmatte verify`."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.commands.options import PATH, console


@click.command()
@click.argument("out", type=PATH, metavar="OUT")
def verify(out: Path) -> int:
    """Read every finished file in OUT and compare it with its digest; 1 if one differs."""
    from orchestrator.out.verify_out import verify_out

    return verify_out(out, console(stderr=True), console())
