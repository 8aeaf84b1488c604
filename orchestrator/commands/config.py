"""`vrmatte config init` and `config check`."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.commands.options import PATH
from pipeline.errors import SettingsError


@click.group()
def config() -> None:
    """Settings files."""


@config.command("init")
@click.argument("file", type=PATH, metavar="FILE")
def init_config(file: Path) -> None:
    """Write every setting with its default and its meaning to FILE."""
    from orchestrator.config import default_text

    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(default_text())
    except FileExistsError:
        raise SettingsError(f"{file} is there already", "choose another name") from None
    except OSError as error:
        raise SettingsError(f"cannot write {file}: {error.strerror}", "check the path") from None
    click.echo(f"wrote {file}")


@config.command("check")
@click.argument("file", type=PATH, metavar="FILE")
def check_config(file: Path) -> None:
    """Say whether FILE is right, or which line is not."""
    from orchestrator.config import load_settings

    load_settings(file, {})
    click.echo(f"{file} is right")
