"""`vrmatte run`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.commands.options import (
    PATH,
    PROJECTIONS,
    QUALITIES,
    FormatName,
    Gpus,
    Times,
    interrupted_by,
    lasting_console,
    prompting,
    read_settings,
)
from orchestrator.exit_status import USAGE, status_of
from orchestrator.settings.presets import PRESETS
from pipeline.errors import ErrorRecord, SettingsError

if TYPE_CHECKING:
    from orchestrator.watch.sender import Sender


@click.command()
@click.argument("inputs", nargs=-1, required=True, type=PATH, metavar="INPUT...")
@click.option("-o", "--out", required=True, type=PATH, help="Folder for the outputs.")
@click.option("--config", type=PATH, help="Settings file (`vrmatte config init` writes one).")
@click.option(
    "--preset",
    metavar="NAME",
    help=f"A named set of settings (`vrmatte config presets`): {', '.join(PRESETS)}.",
)
@click.option(
    "--model",
    help="What cuts the subject out; rvm by default; `vrmatte models list` names them.",
)
@prompting
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=FormatName(),
    help="Format to make; may be given several times.",
)
@click.option(
    "--enhance",
    type=Times(),
    help="Make the pictures so many times as wide and high.",
)
@click.option(
    "--name",
    metavar="TEMPLATE",
    help="Names of the outputs, before the ending of their format: '{stem}{tags}' by default;"
    " {model} is the third field.",
)
@click.option(
    "--layout", type=click.Choice(["auto", "sbs", "tb", "mono"]), help="Where the eyes are."
)
@click.option("--projection", type=click.Choice(PROJECTIONS), help="What each eye shows.")
@click.option(
    "--quality",
    type=click.Choice(QUALITIES),
    help="Of the encoding, not of the matte: draft is fast and coarse, best slow and fine;"
    " balanced by default. Numbers in the settings file override it.",
)
@click.option(
    "--gpus", type=Gpus(), metavar="all|none|0,1", help="Which GPUs work; all by default."
)
@click.option(
    "--cpu-workers", type=click.IntRange(1, 64), help="Workers where no GPU is used; 1 by default."
)
@click.option("--start-frame", type=click.IntRange(0), help="First frame of each video.")
@click.option("--max-frames", type=click.IntRange(1), help="Frames of each video, from there.")
@click.option(
    "--start",
    metavar="TIME",
    help="Instead of --start-frame: 12.5, 1:02 or 1:00:02 in each video; its first frame at or"
    " after that is the first.",
)
@click.option(
    "--end",
    metavar="TIME",
    help="Instead of --max-frames: frames of each video before it are made.",
)
@click.option(
    "--every",
    type=click.IntRange(1),
    help="Of these frames take one in so many, for a quick look; the output lasts as long.",
)
@click.option("--scale", type=float, help="Network input as a share of an eye, 0 to 1; by size.")
@click.option("--segment-frames", type=click.IntRange(1), help="Frames in a segment; by length.")
@click.option("--lanes", type=click.IntRange(1, 64), help="Segments at once in a worker; by cores.")
@click.option(
    "--grace", type=click.FloatRange(0), help="Seconds for the work in hand after Ctrl-C; 120."
)
@click.option(
    "--sidecar/--no-sidecar",
    default=None,
    help="A JSON file beside each output, for DeoVR and HereSphere.",
)
@click.option(
    "--local-folder",
    type=PATH,
    metavar="FOLDER",
    help="On a local disk: segments are written there and moved to OUT whole.",
)
@click.option("--scratch", type=PATH, hidden=True)
@click.option("--fresh", is_flag=True, help="Discard earlier work in OUT and start anew.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Show the plan, with time and disk estimated by trials of 20 frames, and end. OUT keeps"
    " what the probes and trials found.",
)
@click.option(
    "--price-per-hour",
    type=click.FloatRange(0),
    help="Of this machine, for the cost that --dry-run shows.",
)
@click.option(
    "--on-done",
    metavar="CMD",
    help="Run CMD by the shell when the run has ended by itself, well or not. It gets the variables"
    " VRMATTE_STATUS, VRMATTE_OUT and VRMATTE_REPORT.",
)
@click.option(
    "--notify",
    multiple=True,
    metavar="ADDRESS",
    help="Post a message there when the run has ended, and when a video fails: ntfy:TOPIC or"
    " https://HOST/PATH; may be given several times.",
)
@click.option(
    "--gated", is_flag=True, help="Start only where `vrmatte gates` passed, with these models."
)
@click.option(
    "--backend",
    type=click.Choice(["local", "ray"]),
    default="local",
    help="Where workers run: this machine, or the nodes of a Ray cluster that see the same files.",
)
@click.option(
    "--address",
    metavar="auto|HOST:PORT",
    help="Of the cluster's head; auto, by default, is the cluster that this machine belongs to.",
)
@click.option("--json", "as_json", is_flag=True, help="Events on stdout, one JSON object a line.")
def run(
    inputs: tuple[Path, ...],
    out: Path,
    config: Path | None,
    preset: str | None,
    fresh: bool,
    dry_run: bool,
    price_per_hour: float | None,
    on_done: str | None,
    gated: bool,
    backend: str,
    address: str | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Matte the videos in the folders or files INPUT.

    A run on an OUT that holds an unfinished run resumes it. Options override the settings
    file and its overrides, for every video. Exit status: 0 all done, 1 some videos failed or are
    doubtful, 2 usage or settings, 3 this machine cannot do it, 130 stopped and resumable.
    """
    from orchestrator.run.request import Request, Surroundings
    from orchestrator.run.run import run as run_job
    from orchestrator.run.said import lasting_lines
    from orchestrator.run.typed import typed
    from orchestrator.watch.sender import Sender
    from pipeline.stages.matting.fetch import fetch_model, settle_model

    if price_per_hour is not None and not dry_run:
        raise SettingsError("--price-per-hour is for --dry-run", "add it, or leave the price out")
    if address is not None and backend != "ray":
        raise SettingsError("--address is for --backend ray", "add it, or leave the address out")
    cluster = (address or "auto") if backend == "ray" else None
    settings = read_settings(config, options, preset)
    around = Surroundings(
        lasting_console(stderr=as_json),
        lasting_console(stderr=True),
        fetch_model,
        settle_model,
        write_json=lasting_lines(sys.stdout) if as_json else None,
    )
    sender = Sender(settings.notify.to, around.say)
    around = replace(around, sender=sender)
    request = Request(
        inputs, out, settings, fresh, dry_run, price_per_hour, cluster, typed(sys.argv)
    )

    def work() -> int:
        if gated and not dry_run:
            from orchestrator.doctor.doctor import here
            from orchestrator.gates.record import models_of, require_gates

            require_gates(here(), models_of(settings))
        return run_job(request, around)

    with interrupted_by(signal.SIGTERM, signal.SIGHUP):
        return work() if dry_run else _and_tell(on_done, sender, out, work)


def _and_tell(command: str | None, sender: Sender, out: Path, work: Callable[[], int]) -> int:
    """Do `work`, which sends word of its end; if it breaks off, send word of that.

    Afterwards run `command`, which may stop the machine, with the exit status, if the run ended by
    itself.
    """
    from orchestrator.run.on_done import stopped_by_somebody, tell
    from orchestrator.watch.notices import run_broke

    def word(status: int) -> None:
        trouble = tell(command, status, out) if command is not None else None
        if trouble:
            click.echo(f"--on-done: {trouble}", err=True)

    try:
        status = work()
    except Exception as error:
        if status_of(error) != USAGE:  # or another run may be going on
            sender.post([run_broke(out, status_of(error), ErrorRecord.of(error))])
            sender.finish()
            word(status_of(error))
        raise
    if command is not None and not stopped_by_somebody(status, out):
        word(status)
    return status
