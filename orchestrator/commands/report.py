"""`vrmatte report`."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import click

from orchestrator.commands.options import PATH, console, interrupted_by
from orchestrator.serve.addresses import DEFAULT


@click.command()
@click.argument("out", type=PATH, metavar="OUT")
@click.option("--pictures/--no-pictures", default=True, help="With pictures; they take a while.")
@click.option(
    "--serve",
    metavar="[ADDRESS:PORT]",
    is_flag=False,
    flag_value=DEFAULT,
    help="Show the page and the outputs to browsers, during a run too, until Ctrl-C; at"
    f" {DEFAULT}, or at 0.0.0.0:8080 to be reached from elsewhere. Written after OUT.",
)
def report(out: Path, pictures: bool, serve: str | None) -> None:
    """Write OUT/report.html anew, of what the last run left in OUT; also after it was killed.

    A run that is going on writes the page itself. With --serve, the page that is there is shown,
    and written only if there is none.
    """
    if serve is None:
        from orchestrator.report.again import write_again

        write_again(out, console(stderr=True), console(), pictures=pictures)
        return
    from orchestrator.serve.serve import serve_report

    with interrupted_by(signal.SIGTERM, signal.SIGHUP):
        serve_report(out, serve, console(stderr=True), console(), os.environ, pictures=pictures)
