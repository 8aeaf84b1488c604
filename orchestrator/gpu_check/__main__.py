"""``python -m orchestrator.gpu_check``: what `deploy/gpu_check.sh` calls."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import click

from orchestrator.exit_status import ALL_DONE, CANNOT, FAILED, STOPPED, USAGE, status_of
from orchestrator.gpu_check.catalogue import STEPS, Step, chosen
from orchestrator.gpu_check.machine import Machine, rehearsed, this_machine
from orchestrator.gpu_check.results import Check, StepRecord, line, summary, write
from orchestrator.gpu_check.runner import run_step
from orchestrator.gpu_check.site import Site
from pipeline.errors import VrmatteError

#: Clips that are there already, in a folder that this names.
CLIPS = "VRMATTE_CLIPS"

#: A rehearsal's limits are so many times as long: it has no GPU, and may have few cores.
_SLOWER = 4

_PACKAGES = ("vrmatte", "torch", "torchcodec", "triton", "av", "imageio-ffmpeg")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, metavar="[STEP]...")
@click.option("--list", "only_list", is_flag=True, help="Name the steps, and do nothing.")
@click.option(
    "--rehearse", is_flag=True, help="Run the steps on the CPU, with doubles of GPU and NVENC."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("gpu-check"),
    show_default=True,
    help="Folder for the findings.",
)
def main(names: tuple[str, ...], only_list: bool, rehearse: bool, out: Path) -> int:
    """Check all that only a GPU can show, in fifteen minutes.

    Without STEP all that are not marked with + run. Each result is one line; all are in
    OUT/check.json. Exit status: 1 if something failed.
    """
    if only_list:
        for step in STEPS:
            mark = " " if step.by_itself else "+"
            click.echo(f"{mark} {step.name:12} {step.limit_s:5.0f} s  {step.words}")
        return ALL_DONE
    try:
        steps = chosen(names)
    except KeyError as error:
        return _complain(f"there is no step {error}", "--list names all", USAGE)
    if rehearse:
        steps = tuple(replace(step, limit_s=_SLOWER * step.limit_s) for step in steps)
    machine = rehearsed() if rehearse else this_machine()
    if not machine.cards:
        return _complain(
            "there is no GPU here (NVIDIA's driver names none)",
            "run this on a machine with one, or try it without: --rehearse",
            CANNOT,
        )
    clips = os.environ.get(CLIPS)
    ready = Path(clips).absolute() if clips else None
    if ready is not None and not ready.is_dir():
        return _complain(f"{CLIPS}={clips} is no folder", "name one with clips, or unset it", USAGE)
    try:
        out.mkdir(parents=True, exist_ok=True)
        return check(steps, Site(machine, out.absolute(), ready, rehearse), run_step)
    except KeyboardInterrupt:
        return _complain("stopped", f"what was found is in {out}/check.json", STOPPED)
    except VrmatteError as error:
        return _complain(error.message, error.advice, status_of(error))
    except OSError as error:
        return _complain(
            f"{out} cannot be written: {error.strerror}", "choose another --out", USAGE
        )


def check(steps: tuple[Step, ...], site: Site, run: Callable[[Step, Site], StepRecord]) -> int:
    """Run the steps, and keep what they find after each."""
    made = Check(
        at=datetime.now().astimezone().isoformat(timespec="seconds"),
        rehearsal=site.rehearsal,
        machine=site.machine,
        versions={name: version(name) for name in _PACKAGES},
        asked=tuple(step.name for step in steps),
    )
    path = site.folder / "check.json"
    if site.rehearsal:
        click.echo("REHEARSAL: on the CPU, with doubles; no figure below is a GPU's")
    click.echo(f"{_cards(site.machine)}, driver {site.machine.driver or 'unknown'}, {made.at}")
    write(made, path)
    for step in steps:
        click.echo(f"-- {step.name}: {step.words} ({step.limit_s:g} s at most)")
        record = run(step, site)
        for result in record.results:
            click.echo(line(step.name, result))
        made = replace(made, steps=(*made.steps, record))
        write(made, path)
    took = sum(step.wall_s for step in made.steps)
    click.echo(f"{summary(made.steps)} in {took:.0f} s; findings: {path}")
    return ALL_DONE if made.right else FAILED


def _cards(machine: Machine) -> str:
    return ", ".join(card.name for card in machine.cards)


def _complain(message: str, advice: str, status: int) -> int:
    click.echo(f"error: {message}\n{advice}", err=True)
    return status


def run_main() -> int:
    """As a program: usage errors are told as everywhere in vrmatte."""
    try:
        status: int | None = main(standalone_mode=False)
    except click.ClickException as error:
        return _complain(error.format_message(), "--help shows what there is", USAGE)
    except click.Abort:
        return _complain("stopped", "", STOPPED)
    return status or ALL_DONE


if __name__ == "__main__":
    raise SystemExit(run_main())
