"""`vrmatte logs`."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.commands.options import PATH, console


@click.command()
@click.argument("out", type=PATH, metavar="OUT")
@click.option("--gpu", type=click.IntRange(0), metavar="N", help="Of the worker on this GPU only.")
@click.option("--cpu", type=click.IntRange(0), metavar="N", help="Of this worker on the CPU only.")
@click.option("--node", metavar="HOST", help="Of the workers on this machine of a cluster only.")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends.")
@click.option("-n", "--lines", "last", type=click.IntRange(0), metavar="N", help="The last N only.")
def logs(
    out: Path,
    gpu: int | None,
    cpu: int | None,
    node: str | None,
    follow: bool,
    last: int | None,
) -> None:
    """Show what the processes of the runs in OUT have logged, by time.

    Each line: date and time, whose log (orchestrator, gpu0, cpu0, ...), level, what happened. OUT's
    own files are OUT/.vrmatte/logs/*.jsonl, one JSON object a line.
    """
    from orchestrator.watch.logs import show_logs
    from pipeline.errors import SettingsError

    if gpu is not None and cpu is not None:
        raise SettingsError("--gpu and --cpu name two logs", "keep one, or leave both out for all")
    show_logs(out, console(), gpu=gpu, cpu=cpu, node=node, follow=follow, last=last)
