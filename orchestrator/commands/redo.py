"""`vrmatte redo`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import click

from orchestrator.commands.options import PATH, interrupted_by, lasting_console


@click.command()
@click.argument("out", type=PATH, metavar="OUT")
@click.argument("video", metavar="VIDEO")
@click.option(
    "--from",
    "begin",
    metavar="TIME",
    help="Begin of the part, a time of the finished file: 12.5, 1:02 or 1:00:02.",
)
@click.option("--to", "end", metavar="TIME", help="End of the part.")
@click.option("--model", help="Another model; `vrmatte models list` names them.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Another setting, as in a settings file: matting.choke=2; may be given several times.",
)
def redo(
    out: Path,
    video: str,
    begin: str | None,
    end: str | None,
    model: str | None,
    assignments: tuple[str, ...],
) -> int:
    """Make a part of a finished VIDEO in OUT again with other settings.

    The segments that the part touches are made again, in all formats that there are, and joined
    with the rest, which is copied. Without --from and --to that is the whole video. All other
    settings are those of the run that made it. The finished files are replaced when the new ones
    are whole; until then the same command resumes.
    """
    from orchestrator.redo.redo import redo as redo_video
    from orchestrator.redo.request import RedoRequest
    from orchestrator.report.again import write_again
    from orchestrator.run.request import Surroundings
    from orchestrator.run.typed import typed
    from pipeline.stages.matting.fetch import fetch_model, settle_model

    answers, progress = lasting_console(), lasting_console(stderr=True)
    around = Surroundings(answers, progress, fetch_model, settle_model)
    asked = RedoRequest(out, video, begin, end, model, assignments, typed(sys.argv))
    with interrupted_by(signal.SIGTERM, signal.SIGHUP):
        ended = redo_video(asked, around)
        if ended.is_done:
            write_again(out, progress, answers)
    return ended.exit_status
