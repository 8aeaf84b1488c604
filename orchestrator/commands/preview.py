"""`vrmatte preview`."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import click

from orchestrator.commands.options import (
    PATH,
    PROJECTIONS,
    Gpus,
    Names,
    console,
    interrupted_by,
    prompting,
    read_settings,
)
from orchestrator.exit_status import ALL_DONE, FAILED
from pipeline.errors import SettingsError


@click.command()
@click.argument("video", type=PATH, metavar="VIDEO")
@click.option("-o", "--out", "sheet", type=PATH, metavar="SHEET", help="PNG or JPEG to write.")
@click.option("--at", multiple=True, metavar="TIME", help="12.5, 1:02 or 1:00:02; repeatable.")
@prompting
@click.option("--config", type=PATH, help="Settings file, as in `vrmatte run`.")
@click.option(
    "--input",
    "folder",
    type=PATH,
    metavar="FOLDER",
    help="INPUT of `vrmatte run`, for overrides that name its folders.",
)
@click.option("--preset", metavar="NAME", help="As in `vrmatte run`.")
@click.option("--model", help="Likewise.")
@click.option("--layout", type=click.Choice(["auto", "sbs", "tb", "mono"]), help="Likewise.")
@click.option("--projection", type=click.Choice(PROJECTIONS), help="Likewise.")
@click.option("--scale", type=float, help="Likewise.")
@click.option("--gpus", type=Gpus(), metavar="all|none|0,1", help="Likewise.")
@click.option(
    "--compare",
    type=Names(),
    metavar="NAME,NAME",
    help="Show these models side by side, instead of the one that a run would use.",
)
@click.option(
    "--width", type=click.IntRange(64, 4096), default=640, help="Pixels of each picture; 640."
)
def preview(
    video: Path,
    sheet: Path | None,
    at: tuple[str, ...],
    config: Path | None,
    folder: Path | None,
    preset: str | None,
    compare: list[str] | None,
    width: int,
    **options: Any,
) -> int:
    """Show some frames of VIDEO as a run would matte them, on one sheet.

    Each row is a frame: the source, the matte, the result over a checkerboard. The last row shows
    an edge of a matte at 1:1. Rulers along the source count pixels as prompts do. Without --at,
    frames near the beginning, the middle and the end; with prompts, which are drawn, the frames
    that have some. With --compare each column after the source is the result of one model, and the
    heading says what was seen of it. Overrides in the settings file go by the name of VIDEO, as in
    `vrmatte run VIDEO`; with --input, by its path below that folder. Exit status: 1 if the matte is
    likely of no use; with --compare, if those of all models are.
    """
    from rich.text import Text

    from orchestrator.preview.frames import path_below
    from orchestrator.preview.preview import preview as make_preview
    from orchestrator.preview.request import PreviewRequest
    from orchestrator.settings.settings import settings_for
    from pipeline.stages.matting.fetch import fetch_model, settle_model
    from pipeline.text import printable

    if compare is not None:
        if not compare:
            raise SettingsError("--compare names no model", "`vrmatte models list` names them")
        if options["model"] is not None:
            raise SettingsError("--compare and --model are both given", "keep one of the two")
    settings = read_settings(config, options, preset)
    settings = settings_for(settings, path_below(folder, video))
    sheet = sheet or Path(f"{video.stem}_preview.png")
    with (
        interrupted_by(signal.SIGTERM, signal.SIGHUP),
        console(stderr=True).status("starting") as status,
    ):
        made = make_preview(
            PreviewRequest(video, settings, sheet, at, width, tuple(compare or ())),
            fetch_model,
            settle_model=settle_model,
            on_step=lambda what: status.update(Text(printable(what))),
        )
    click.echo(sheet)
    if made.chosen:
        click.echo(printable(f"model {made.chosen}"), err=True)
    for verdict in made.verdicts:
        said = verdict.lines() if compare else (f"doubtful: {each}" for each in verdict.doubts)
        for line in said:
            click.echo(printable(line), err=True)
    return FAILED if made.is_doubtful else ALL_DONE
