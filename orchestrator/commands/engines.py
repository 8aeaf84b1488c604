"""`vrmatte engines list`, `engines build` and `engines clear`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from orchestrator.commands.options import PATH, console, read_settings
from orchestrator.exit_status import ALL_DONE, FAILED


@click.group()
def engines() -> None:
    """What runs the models' networks, and the engines that were built."""


@engines.command("list")
def list_engines() -> None:
    """Name the engines that can be chosen, and those that are kept."""
    from pipeline.engines.catalogue import ENGINES
    from pipeline.engines.compiled_files import CompiledFiles
    from pipeline.stages.matting.weights import compiled_folder
    from pipeline.text import printable

    for row in ENGINES.values():
        lacking = row.lacking()
        missing = f" ({lacking} is not installed: {row.how_to_have_it()})" if lacking else ""
        click.echo(f"{row.name:10} {row.description}{missing}")
    folder = compiled_folder()
    kept = CompiledFiles(folder).all()
    click.echo(f"\n{len(kept)} kept in {printable(str(folder))}")
    for each in kept:
        key = each.key
        shapes = ", ".join("x".join(map(str, shape)) for shape in key.shapes)
        state = f"{len(each.content) / 1e6:.1f} MB"
        if each.refused is not None:
            state = f"refused: {printable(each.refused)}"
        device = printable(key.device.splitlines()[0].partition(": ")[2] or key.device)
        click.echo(
            f"{each.digest}  {key.engine}, {key.network}, {shapes}, {key.precision}, {device},"
            f" {', '.join(key.versions)}: {state}"
        )


@engines.command("build")
@click.argument("videos", type=PATH, nargs=-1, required=True, metavar="VIDEO...")
@click.option("--config", type=PATH, help="Settings file, as in `vrmatte run`.")
@click.option("--model", help="As in `vrmatte run`.")
@click.option("--engine", default="tensorrt", show_default=True, help="Which one to build.")
@click.option("--gpus", help="As in `vrmatte run`.")
def build_engines(
    videos: tuple[Path, ...], config: Path | None, engine: str, **options: Any
) -> int:
    """Build the engines for videos like VIDEO..., and compare them with torch.

    Eyes of one size share an engine. It serves runs on GPUs of the same kind with
    `processing.engine` set to it. Exit status: 1 if one is refused.
    """
    from rich.text import Text

    from orchestrator.engines.prepare import built_for
    from pipeline.stages.matting.fetch import fetch_model

    settings = read_settings(config, options)
    with console(stderr=True).status("starting") as status:
        built = built_for(
            videos, settings, engine, fetch_model, lambda what: status.update(Text(what))
        )
    for each in built:
        click.echo(each.line)
    return FAILED if any(each.refused for each in built) else ALL_DONE


@engines.command("clear")
def clear_engines() -> None:
    """Delete all engines that are kept. Unfinished videos that were made by one begin again."""
    from pipeline.engines.compiled_files import CompiledFiles
    from pipeline.errors import DiskError
    from pipeline.stages.matting.weights import compiled_folder

    try:
        count = CompiledFiles(compiled_folder()).clear()
    except OSError as error:
        raise DiskError(f"an engine cannot be deleted: {error.strerror or error}") from error
    click.echo(f"{count} deleted")
