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
@click.option(
    "--out",
    type=PATH,
    metavar="OUT",
    help="Folder whose disk is tried; the current one by default.",
)
@click.option(
    "--config", type=PATH, help="Settings file with the model whose weights are looked for."
)
@click.option("--model", help="That model by name, as in `vrmatte run`.")
@click.option("--fresh", is_flag=True, help="Repeat the trials whose results are remembered.")
@click.option(
    "--backend",
    type=click.Choice(["local", "ray"]),
    default="local",
    help="What is examined: this machine, or every node of a Ray cluster.",
)
@click.option(
    "--address",
    metavar="auto|HOST:PORT",
    help="Address of the cluster's head; by default auto: the cluster of this machine.",
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
    """Examine this machine: is it fit for a run, and what would improve it?

    Each line is ok, warning (it works, but slower than it could) or broken (a run will fail), with
    what to do. Weights that are not here are asked for at their sources, for 3 s at the most, and
    not fetched. Decoders and encoders are tried once per machine, and the results are remembered.
    Exit status: 3 if something is broken, otherwise 0.

    With --backend ray each node of the cluster is examined, and compared with this machine, which
    would start the run: versions, OUT, GPUs, and whether its address is public.
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
        working.on("waiting for the findings of all nodes")
        reports = examine_cluster(address, Wanted(out, matting, fresh))
    record = cluster_record(reports)
    if as_json:
        click.echo(json.dumps(record, indent=2))
    else:
        show_reports(console(), reports)
    return 3 if record["level"] == "broken" else 0
