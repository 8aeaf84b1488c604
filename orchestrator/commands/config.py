"""`vrmatte config init`, `config check`, `config presets` and `config schema`."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.commands.options import PATH, note
from orchestrator.exit_status import USAGE
from pipeline.errors import SettingsError
from pipeline.text import printable

#: Lines of mistakes that are shown; whoever mends these sees the others.
MOST_MISTAKES = 20


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
def check_config(file: Path) -> int:
    """Say whether FILE is right, or which lines are not, and why.

    The files that it names (weights, pictures, prompts) must be there. Whether the machine has what
    it asks for (GPUs, folders for segments) only a run can tell.
    """
    from orchestrator.plan.mistakes import mistakes_in
    from orchestrator.words import counted

    found = mistakes_in(file, note)
    if not found:
        click.echo(f"{file} is right")
        return 0
    if len(found) == 1:
        raise found[0]
    for error in found[:MOST_MISTAKES]:
        click.echo(f"error: {printable(str(error))}", err=True)
    left_out = len(found) - MOST_MISTAKES
    more = f", {left_out} of them not shown" if left_out > 0 else ""
    click.echo(printable(f"{counted(len(found), 'mistake')} in {file}{more}"), err=True)
    return USAGE


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
