"""Options that several commands share, their places in the settings, and the terminal."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

import click

from orchestrator.settings.option_keys import OLD_OPTIONS, OPTION_KEYS

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.settings.settings import Settings


class _Named(click.Path):
    """A path; an empty one is a variable of a script that was not set, not this folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("the path is empty", param, ctx)
        return super().convert(value, param, ctx)


PATH = _Named(path_type=Path)

#: Written out, because what knows them is slow to load; tests compare.
SPHERES = ["equirect180", "equirect360", "fisheye180", "fisheye190", "fisheye200", "fisheye220"]
PROJECTIONS = ["auto", *SPHERES, "flat"]
QUALITIES = ["draft", "balanced", "best"]


class Gpus(click.ParamType[Any]):
    name = "all|none|0,1"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | list[int]:
        if value in ("all", "none"):
            return str(value)
        numbers = str(value).split(",")
        if not all(number.strip().isdecimal() for number in numbers):
            self.fail(f"{value!r} is neither all, none nor a list like 0,1", param, ctx)
        return [int(number) for number in numbers]


class Times(click.ParamType[Any]):
    """How many times larger pictures become."""

    name = "2|4"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if str(value) not in ("2", "4"):
            self.fail(f"{value!r} is neither 2 nor 4", param, ctx)
        return int(value)


class Names(click.ParamType[Any]):
    name = "NAME,NAME"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[str]:
        return [name.strip() for name in str(value).split(",") if name.strip()]


class FormatName(click.ParamType[Any]):
    """A format's name. The settings check it: there other packages' formats are loaded."""

    name = "format"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        from pipeline.deliverables.formats import FORMATS

        return f"[{'|'.join(FORMATS.names())}]"


def prompting(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options by which a person says who the subject is."""
    for option in (
        click.option(
            "--dlc-likelihood",
            type=click.FloatRange(0, 1),
            help="Body parts less likely than this are left out; 0.6.",
        ),
        click.option("--dlc-parts", type=Names(), help="Which body parts; all by default."),
        click.option(
            "--dlc-csv", type=PATH, metavar="CSV", help="The same from a table of DeepLabCut's."
        ),
        click.option(
            "--prompts",
            type=PATH,
            help="What tells sam2 who the subject is: a file, or a folder of STEM.prompts.yaml;"
            " by default the one beside the video.",
        ),
    ):
        command = option(command)
    return command


def overrides(options: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The options that were given, as settings: by their names, or as ``group.key``."""
    found: dict[str, dict[str, Any]] = {}
    for option, value in options.items():
        if value is not None and value != ():
            group, _, key = option.partition(".")
            if not key:
                group, key = OPTION_KEYS[option]
            found.setdefault(group, {})[key] = value
    return found


def read_settings(
    config: Path | None, options: dict[str, Any], preset: str | None = None
) -> Settings:
    """The settings of a command: of its settings file, with the options that were given.

    Raises:
        SettingsError: see `load_settings`.
    """
    from orchestrator.settings.settings import load_settings

    return load_settings(config, overrides(_with_new_names(options)), preset, note)


def _with_new_names(options: dict[str, Any]) -> dict[str, Any]:
    found = dict(options)
    for old, new in OLD_OPTIONS.items():
        if (value := found.pop(old, None)) is not None:
            note(f"--{old} is now named --{new.replace('_', '-')}")
            found[new] = value
    return found


def note(line: str) -> None:
    """Say a line that is no error."""
    from pipeline.text import printable

    click.echo(f"note: {printable(line)}", err=True)


@contextlib.contextmanager
def interrupted_by(*numbers: signal.Signals) -> Iterator[None]:
    """These signals are as good as Ctrl-C, but for those that are ignored (SIGHUP under nohup)."""
    old = {number: signal.getsignal(number) for number in numbers}
    changed = [number for number in numbers if old[number] == signal.SIG_DFL]
    for number in changed:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)


def console(*, stderr: bool = False) -> Console:
    return _kind_of_console()(stderr=stderr, highlight=False)


def lasting_console(*, stderr: bool = False) -> Console:
    """One that takes no harm when whoever reads it goes away: the work goes on."""
    from orchestrator.run.said import LastingStream

    stream = LastingStream(sys.stderr if stderr else sys.stdout)
    return _kind_of_console()(file=cast("TextIO", stream), highlight=False)


def _kind_of_console() -> type[Console]:
    from rich.console import Console

    from orchestrator.commands.ascii_console import AsciiConsole, asked_for

    return AsciiConsole if asked_for(os.environ) else Console
