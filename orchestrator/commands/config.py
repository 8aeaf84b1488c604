"""`vrmatte config init`, `config check`, `config presets` and `config schema`."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.commands.options import PATH, read_settings
from pipeline.errors import SettingsError


@click.group()
def config() -> None:
    """Settings files."""


@config.command("init")
@click.argument("file", type=PATH, metavar="FILE")
def init_config(file: Path) -> None:
    """Write every setting with its default and its meaning to FILE."""
    from orchestrator.settings.explained import default_text

    try:
        with file.open("x", encoding="utf-8") as stream:
            try:
                stream.write(default_text())
                stream.flush()
            except OSError:  # as on a full disk: half a file would be in the way
                file.unlink()
                raise
    except FileExistsError:
        raise SettingsError(f"{file} is there already", "choose another name") from None
    except OSError as error:
        raise SettingsError(f"cannot write {file}: {error.strerror}", "check the path") from None
    click.echo(f"wrote {file}")


@config.command("check")
@click.argument("file", type=PATH, metavar="FILE")
def check_config(file: Path) -> None:
    """Say whether FILE is right, or which line is not.

    Whether what it names is there (weights, pictures, GPUs) only a run can tell.
    """
    from orchestrator.plan.per_file import require_sense

    require_sense(read_settings(file, {}))
    click.echo(f"{file} is right")


@config.command("presets")
def list_presets() -> None:
    """Name the presets, what each is for, and what it sets."""
    from orchestrator.settings.presets import PRESETS

    for name, preset in PRESETS.items():
        click.echo(f"{name:12} {preset.purpose}")
        for group, members in preset.values.items():
            for key, value in members.items():
                shown = ", ".join(value) if isinstance(value, list) else value
                click.echo(f"{'':12} {group}.{key}: {shown}")


@config.command("schema")
def show_schema() -> None:
    """Print a JSON Schema of settings files, for editors.

    With `vrmatte config schema > vrmatte.schema.json` and the first line
    `# yaml-language-server: $schema=vrmatte.schema.json` many editors complete and explain keys.
    """
    import json

    from orchestrator.settings.explained import config_schema

    click.echo(json.dumps(config_schema(), indent=2))
