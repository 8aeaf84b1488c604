"""`vrmatte bench`."""

from __future__ import annotations

import signal
from pathlib import Path, PurePath
from typing import Any

import click

from orchestrator.commands.options import (
    PATH,
    QUALITIES,
    FormatName,
    Gpus,
    console,
    interrupted_by,
    read_settings,
)
from pipeline.errors import SettingsError


@click.command()
@click.argument("clip", required=False, type=PATH, metavar="[CLIP]")
@click.option("--config", type=PATH, help="Settings file (`vrmatte config init` writes one).")
@click.option("--model", help="As in `vrmatte run`.")
@click.option("--format", "formats", multiple=True, type=FormatName(), help="Likewise.")
@click.option("--quality", type=click.Choice(QUALITIES), help="Likewise.")
@click.option(
    "--size",
    type=click.Choice(["1080p", "4k", "8k"], case_sensitive=False),
    default="1080p",
    help="Both eyes of the clip that is made where none is given: 1080p, 4k or 8k.",
)
@click.option("--frames", type=click.IntRange(2), help="How many frames; by the clip's size.")
@click.option("--segment-frames", type=click.IntRange(1), help="Frames in a segment at the most.")
@click.option("--gpus", type=Gpus(), metavar="all|none|0,1", help="As in `vrmatte run`.")
@click.option("--lanes", type=click.IntRange(1, 64), help="Likewise.")
@click.option("--cpu-workers", type=click.IntRange(1, 64), help="Likewise.")
@click.option("--json", "json_path", type=PATH, metavar="FILE", help="Write all figures there.")
@click.option("--compare", type=PATH, metavar="OLD.json", help="Show ratios to that result.")
def bench(
    clip: Path | None,
    config: Path | None,
    size: str,
    frames: int | None,
    json_path: Path | None,
    compare: Path | None,
    **options: Any,
) -> None:
    """Measure the stages alone and a whole run, of CLIP or of a clip that is made for it."""
    from orchestrator.bench.bench import BenchRequest
    from orchestrator.bench.bench import bench as measure
    from orchestrator.bench.compare import change_table, differences
    from orchestrator.bench.result import headline, read_json, stage_table, write_json
    from orchestrator.settings.settings import settings_for

    old = read_json(compare) if compare else None
    if json_path and not json_path.absolute().parent.is_dir():
        raise SettingsError(f"there is no folder for {json_path}", "make it, or name another file")
    settings = read_settings(config, options)
    settings = settings_for(settings, PurePath(clip.name if clip else ""))
    errors = console(stderr=True)
    with interrupted_by(signal.SIGTERM, signal.SIGHUP):
        found = measure(BenchRequest(settings, clip, size, frames), errors.print)
    answers = console()
    answers.print(stage_table(found))
    for line in headline(found):
        answers.print(line, markup=False, soft_wrap=True)
    if json_path:
        write_json(found, json_path)
    if old:
        answers.print(change_table(old, found))
        for line in differences(old, found):
            answers.print(line, markup=False, soft_wrap=True)
