"""`vrmatte models list` and `models fetch`."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.commands.options import PATH


@click.group()
def models() -> None:
    """The models, and what they need from elsewhere."""


@models.command("list")
def list_models() -> None:
    """Name the models that can be chosen."""
    from pipeline.models.names import DESCRIPTIONS, model_names

    for name in model_names():
        click.echo(f"{name:8} {DESCRIPTIONS.get(name, 'installed by another package')}")


@models.command("fetch")
@click.option("--config", type=PATH, help="Settings file that says which variant, from where.")
def fetch_models(config: Path | None) -> None:
    """Fetch code and weights to the cache, for machines that will have no network.

    Of RVM, or of SAM 2 and its seed model where FILE says so.
    """
    from orchestrator.config import load_settings
    from pipeline.models.sam2_weights import fetch_checkpoint
    from pipeline.models.weights import fetch_rvm

    matting = load_settings(config, {}).matting
    with_sam2 = matting.model in ("sam2", "sam2+rvm")
    if with_sam2:
        click.echo(fetch_checkpoint(matting))
    helpers = {matting.sam2_seed} | ({matting.sam2_edge} if matting.model == "sam2+rvm" else set())
    if not with_sam2 or "rvm" in helpers:
        for path in fetch_rvm(matting):
            click.echo(path)
