"""The command line, and the one place where errors become one line.

What can be typed is in `commands/`; everything heavy is imported inside the commands, so that
``--help`` answers at once.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Any

import click

from orchestrator.commands.bench import bench
from orchestrator.commands.config import config
from orchestrator.commands.demo import demo
from orchestrator.commands.doctor import doctor
from orchestrator.commands.engines import engines
from orchestrator.commands.enhance import enhance
from orchestrator.commands.gates import gates
from orchestrator.commands.logs import logs
from orchestrator.commands.models import models
from orchestrator.commands.preview import preview
from orchestrator.commands.redo import redo
from orchestrator.commands.report import report
from orchestrator.commands.run import run
from orchestrator.commands.status import status
from orchestrator.commands.verify import verify
from orchestrator.exit_status import FAILED, STOPPED, USAGE, status_of
from pipeline.errors import VrmatteError


class Commands(click.Group):
    """Commands that give an exit status; their errors are one line and one of advice."""

    _chosen: str | None = None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        found = super().resolve_command(ctx, args)
        self._chosen = found[0]
        return found

    def main(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["standalone_mode"] = False
        if not args and "args" not in kwargs:  # as a program of its own
            _require_utf8()
        _open_streams()
        try:
            status = super().main(*args, **kwargs)
        except click.exceptions.NoArgsIsHelpError as error:  # `vrmatte` or `vrmatte config` alone
            error.show()
            status = USAGE
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else "vrmatte"
            _complain(error.format_message(), f"`{command} --help` shows what there is")
            status = USAGE
        except click.ClickException as error:
            _complain(error.format_message(), "")
            status = error.exit_code
        except (click.Abort, KeyboardInterrupt):
            if self._chosen != "logs":  # for `logs -f` it is the way to end
                goes_on = {"run": "run", "enhance": "run", "redo": "redo"}.get(self._chosen or "")
                if "--dry-run" in sys.argv:
                    goes_on = None
                _complain("stopped", f"the same command resumes the {goes_on}" if goes_on else "")
            status = STOPPED
        except VrmatteError as error:
            _complain(error.message, error.advice)
            status = status_of(error)
        except BrokenPipeError:  # whoever read our output has had enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            status = FAILED
        except Exception as error:  # the boundary of this process
            if os.environ.get("VRMATTE_TRACEBACK"):
                raise
            # `run` notes where it logged the error.
            notes = getattr(error, "__notes__", ["VRMATTE_TRACEBACK=1 shows where it happened"])
            first_line = (str(error).splitlines() or [""])[0]
            _complain(f"{type(error).__name__}: {first_line}", notes[0])
            status = FAILED
        sys.exit(status if isinstance(status, int) else 0)


def _require_utf8() -> None:
    """Start over in Python's UTF-8 mode where the locale has another encoding.

    Names of files are passed to decoders as UTF-8, and reports name them. In a Latin-1 or C locale
    Python would read the bytes of a name as other text, which is then another file's name.
    """
    if sys.getfilesystemencoding().lower() == "utf-8" or os.environ.get("PYTHONUTF8") == "1":
        return
    os.environ["PYTHONUTF8"] = "1"
    with contextlib.suppress(OSError):  # then with names that cannot all be written
        os.execv(sys.executable, sys.orig_argv)


def _open_streams() -> None:
    """See to it that whatever is printed can be.

    Where a stream was closed (``2>&-``) its number would be taken by the next file opened. What
    the encoding of the terminal cannot show becomes a question mark.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            os.set_inheritable(number, True)  # workers need it as much
            mode = "w" if number else "r"
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", errors="replace"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _complain(message: str, advice: str) -> None:
    from pipeline.text import printable

    with contextlib.suppress(OSError):  # the terminal may be closed; the exit status says it too
        click.echo(f"error: {printable(message)}", err=True)
        if advice:
            click.echo(printable(advice), err=True)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vrmatte")
def main() -> None:
    """Cuts people out of VR180 video: transparent WebM, on all GPUs or on none."""


for command in (
    *(bench, config, demo, doctor, engines, enhance, gates, logs, models, preview, redo, report),
    run,
    status,
    verify,
):
    main.add_command(command)


if __name__ == "__main__":
    main()
