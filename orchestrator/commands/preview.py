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
    interrupted_by,
    prompting,
    read_settings,
)
from orchestrator.exit_status import ALL_DONE, FAILED


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
    "--width", type=click.IntRange(64, 4096), default=640, help="Pixels of each picture; 640."
)
def preview(
    video: Path,
    sheet: Path | None,
    at: tuple[str, ...],
    config: Path | None,
    folder: Path | None,
    preset: str | None,
    width: int,
    **options: Any,
) -> int:
    """Show some frames of VIDEO as a run would matte them, on one sheet.

    Each row is a frame: the source, the matte, the result over a checkerboard. Without --at, frames
    near the beginning, the middle and the end; with prompts, which are drawn, the frames that
    have some. Overrides in the settings file go by the name of VIDEO, as in `vrmatte run VIDEO`;
    with --input, by its path below that folder. Exit status: 1 if the matte is likely of no use.
    """
    from orchestrator.preview import PreviewRequest, path_below
    from orchestrator.preview import preview as make_preview
    from orchestrator.settings.settings import settings_for
    from pipeline.stages.matting.fetch import fetch_model, settle_model
    from pipeline.text import printable

    settings = read_settings(config, options, preset)
    settings = settings_for(settings, path_below(folder, video))
    sheet = sheet or Path(f"{video.stem}_preview.png")
    with interrupted_by(signal.SIGTERM, signal.SIGHUP):
        made = make_preview(
            PreviewRequest(video, settings, sheet, at, width),
            fetch_model,
            settle_model=settle_model,
        )
    click.echo(sheet)
    if made.model:
        click.echo(printable(f"model {made.model}"), err=True)
    for doubt in made.doubts:
        click.echo(printable(f"doubtful: {doubt}"), err=True)
    return FAILED if made.doubts else ALL_DONE
