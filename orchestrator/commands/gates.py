"""`vrmatte gates`."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.commands.options import PATH, console
from pipeline.errors import DiskError


@click.command()
@click.option(
    "--through", type=click.IntRange(1, 5), default=4, metavar="N", help="The last gate; 4."
)
@click.option(
    "--out", type=PATH, metavar="OUT", help="The finished output folder that gate 5 checks."
)
@click.option("--config", type=PATH, help="Settings file: its model must pass.")
@click.option("--model", help="That model by name, as in `vrmatte run`.")
@click.option("--fresh", is_flag=True, help="Repeat what has passed or is remembered.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON instead.")
def gates(
    through: int,
    out: Path | None,
    config: Path | None,
    model: str | None,
    fresh: bool,
    as_json: bool,
) -> int:
    """Prove that this machine does the work, before a long run.

    Gate 1 checks the machine (`vrmatte doctor`), 2 every decoder, model and format alone, 3 an
    H.264 and an AV1 clip from end to end, 4 two workers at once, 5 a finished OUT. The first gate
    that fails is the last one. Models without weights here are skipped, unless one is asked for;
    where the weights of the run's own model are not here and cannot be fetched, gate 1 fails.
    The results are kept: `vrmatte run --gated` starts only if gates 1 to 4 have passed. Exit
    status: 3 if a gate failed, otherwise 0.
    """
    import json
    import tempfile
    from datetime import datetime

    from orchestrator.commands.options import read_settings
    from orchestrator.doctor.doctor import here
    from orchestrator.doctor.screen import Working
    from orchestrator.gates.gates import failed_gate, gates_to_run, keep_results, pass_gates
    from orchestrator.gates.record import ready_models
    from orchestrator.gates.screen import show_results, verdict
    from orchestrator.gates.site import Site
    from pipeline.stages.matting.catalogue import AUTO

    settings = read_settings(config, {"model": model})
    named = settings.matting.model if config or model else None
    asked = None if named == AUTO else named
    with (
        Working(console(stderr=True)) as working,
        tempfile.TemporaryDirectory(prefix="vrmatte-gates-") as folder,
    ):
        site = Site(
            here(working.on),
            Path(folder),
            settings.matting,
            settings.processing,
            asked_model=asked,
            out=out,
            fresh=fresh,
        )
        numbers, earlier = gates_to_run(site, through)
        if earlier and not as_json:
            click.echo(f"gates 1 to 4 passed here {earlier}: not repeated (--fresh does)")
        try:
            found = pass_gates(site, numbers)
            shown = list(found) if as_json else show_results(console(), found, working.pause)
        finally:
            working.pause()
            site.close()
        record, kept = keep_results(site, shown, datetime.now().astimezone())
    if as_json:
        click.echo(json.dumps(record, indent=2))
    else:
        click.echo(f"\n{verdict(shown, numbers)}")
        if through >= 4 and failed_gate(shown) is None:
            click.echo(f"`vrmatte run --gated` takes: {ready_models(record)}")
    if isinstance(kept, DiskError):
        click.echo(f"the results cannot be kept for `run --gated`: {kept}", err=True)
    elif not as_json:
        click.echo(f"results: {kept}")
    return 0 if failed_gate(shown) is None else 3
