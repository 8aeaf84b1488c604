"""`vrmatte doctor`."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.commands.options import PATH, console


@click.command()
@click.option("--out", type=PATH, metavar="OUT", help="Whose disk is looked at; this folder's.")
@click.option("--config", type=PATH, help="Settings file: whose model's weights are looked for.")
@click.option("--model", help="The same by name, as in `vrmatte run`.")
@click.option("--fresh", is_flag=True, help="Try again what is remembered of this machine.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON instead.")
def doctor(
    out: Path | None, config: Path | None, model: str | None, fresh: bool, as_json: bool
) -> int:
    """Look at this machine: is it fit for a run, and what would make it better?

    Each line is ok, mind (it works, but slower than it could) or broken (a run will fail), with
    what to do. What decodes and encodes is tried once a machine and remembered. Exit status: 3 if
    something is broken, otherwise 0.
    """
    import json

    from orchestrator.commands.options import overrides
    from orchestrator.config import load_settings
    from orchestrator.doctor.doctor import examine, here
    from orchestrator.doctor.findings import as_record, worst
    from orchestrator.doctor.screen import Working, show_findings

    matting = load_settings(config, overrides({"model": model})).matting
    with Working(console(stderr=True)) as working:
        findings = examine(here(working.on), out, matting, fresh=fresh)
        if as_json:
            found = list(findings)
            working.pause()
            click.echo(json.dumps(as_record(found), indent=2))
        else:
            found = show_findings(console(), findings, working.pause)
    return 3 if worst(found) == "broken" else 0
