"""`vrmatte models list` and `models fetch`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from orchestrator.commands.options import PATH, Times, read_settings


@click.group()
def models() -> None:
    """The models, and what they need from elsewhere."""


@models.command("list")
def list_models() -> None:
    """Name the models that can be chosen."""
    from pipeline.contract import NO_MODEL, MattingSettings
    from pipeline.errors import SettingsError
    from pipeline.stages.enhance.catalogue import UPSCALERS
    from pipeline.stages.matting.catalogue import AUTO, MODELS, candidates

    chosen = [each.model for each in candidates(MattingSettings(model=AUTO))]
    click.echo(f"{AUTO:8} the first of {', '.join(chosen)} that suits the video; the default")
    click.echo(f"{NO_MODEL:8} {MODELS[NO_MODEL].description}")
    for name in MODELS.names():
        try:
            row = MODELS[name]
            said = f"{row.description}; needs {row.needs} ({row.licence})"
        except SettingsError as error:
            said = f"unusable: {error}"
        click.echo(f"{name:8} {said}")
    click.echo("\nto make pictures larger (vrmatte enhance, run --enhance):")
    for upscaler in UPSCALERS:
        click.echo(f"{upscaler.name:8} {upscaler.description} ({upscaler.licence})")


@models.command("fetch")
@click.option("--config", type=PATH, help="Settings file that says which variant, from where.")
@click.option("--model", help="As in `vrmatte run`.")
@click.option("--enhance", type=Times(), help="The weights that `vrmatte enhance` needs, too.")
def fetch_models(config: Path | None, **options: Any) -> None:
    """Fetch code and weights to the cache, for machines that will have no network.

    Of the models that `auto` may choose, or of every model in FILE (overrides too), and of those
    that these need.
    """
    from orchestrator.plan.per_file import possible_mattings
    from pipeline.stages.enhance.catalogue import upscaler_of
    from pipeline.stages.enhance.weights import fetch as fetch_upscaler
    from pipeline.stages.matting.catalogue import facts_of
    from pipeline.stages.matting.fetch import fetch_model

    found: dict[Path, None] = {}
    settings = read_settings(config, options)
    if settings.enhance.scale > 1:
        row = upscaler_of(settings.enhance)
        click.echo(f"{row.name}: {row.licence}", err=True)
        found.update(dict.fromkeys(fetch_upscaler(settings.enhance)))
    for matting in possible_mattings(settings):
        if places := fetch_model(matting):
            click.echo(f"{matting.model}: {facts_of(matting).licence}", err=True)
        found.update(dict.fromkeys(places))
    for path in found:
        click.echo(path)
    if not found:
        click.echo("nothing to fetch: no model that is asked for needs weights")
