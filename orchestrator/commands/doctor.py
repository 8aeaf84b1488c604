"""`vrmatte doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.commands.options import PATH, console
from pipeline.errors import SettingsError

if TYPE_CHECKING:
    from pipeline.contract import MattingSettings


@click.command()
@click.option("--out", type=PATH, metavar="OUT", help="Whose disk is looked at; this folder's.")
@click.option("--config", type=PATH, help="Settings file: whose model's weights are looked for.")
@click.option("--model", help="The same by name, as in `vrmatte run`.")
@click.option("--fresh", is_flag=True, help="Try again what is remembered of this machine.")
@click.option(
    "--backend",
    type=click.Choice(["local", "ray"]),
    default="local",
    help="What is looked at: this machine, or every node of a Ray cluster.",
)
@click.option(
    "--address",
    metavar="auto|HOST:PORT",
    help="Of the cluster's head; auto, by default, is the cluster that this machine belongs to.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON instead.")
def doctor(
    out: Path | None,
    config: Path | None,
    model: str | None,
    fresh: bool,
    backend: str,
    address: str | None,
    as_json: bool,
) -> int:
    """Look at this machine: is it fit for a run, and what would make it better?

    Each line is ok, mind (it works, but slower than it could) or broken (a run will fail), with
    what to do. What decodes and encodes is tried once a machine and remembered. Exit status: 3 if
    something is broken, otherwise 0.

    With --backend ray each node looks at itself, and is compared with this machine, on which a run
    would be started: versions, OUT, GPUs, and whether its address is public.
    """
    import json

    from orchestrator.commands.options import read_settings
    from orchestrator.doctor.doctor import examine, here
    from orchestrator.doctor.findings import as_record, worst
    from orchestrator.doctor.screen import Working, show_findings

    if address is not None and backend != "ray":
        raise SettingsError("--address is for --backend ray", "add it, or leave the address out")
    matting = read_settings(config, {"model": model}).matting
    if backend == "ray":
        return _everywhere(address or "auto", out, matting, fresh=fresh, as_json=as_json)
    with Working(console(stderr=True)) as working:
        findings = examine(here(working.on), out, matting, fresh=fresh)
        if as_json:
            found = list(findings)
            working.pause()
            click.echo(json.dumps(as_record(found), indent=2))
        else:
            found = show_findings(console(), findings, working.pause)
    return 3 if worst(found) == "broken" else 0


def _everywhere(
    address: str, out: Path | None, matting: MattingSettings, *, fresh: bool, as_json: bool
) -> int:
    import json

    from orchestrator.doctor.everywhere import Wanted, cluster_record, examine_cluster
    from orchestrator.doctor.screen import Working, show_reports

    with Working(console(stderr=True)) as working:
        working.on("waiting for the nodes' doctors")
        reports = examine_cluster(address, Wanted(out, matting, fresh))
    record = cluster_record(reports)
    if as_json:
        click.echo(json.dumps(record, indent=2))
    else:
        show_reports(console(), reports)
    return 3 if record["level"] == "broken" else 0
