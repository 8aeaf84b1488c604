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
from orchestrator.exit_status import ALL_DONE, FAILED
from pipeline.errors import SettingsError


@click.command()
@click.argument("clip", required=False, type=PATH, metavar="[CLIP]")
@click.option("--config", type=PATH, help="Settings file (`vrmatte config init` writes one).")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME",
    help="As in `vrmatte run`; with --alpha, any number of them, all by default.",
)
@click.option("--format", "formats", multiple=True, type=FormatName(), help="Likewise.")
@click.option(
    "--quality",
    metavar=f"{'|'.join(QUALITIES)}|CLIP",
    help="As in `vrmatte run`; with --alpha, the clip whose mattes are measured.",
)
@click.option(
    "--alpha",
    "truth",
    type=PATH,
    metavar="TRUTH",
    help="The true alpha of the clip, a grey video of the same frames and size: measure how near"
    " each model comes to it, instead of speed.",
)
@click.option(
    "--layout", type=click.Choice(["auto", "sbs", "tb", "mono"]), help="As in `vrmatte run`."
)
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
    models: tuple[str, ...],
    quality: str | None,
    truth: Path | None,
    **options: Any,
) -> int:
    """Measure the stages alone and a whole run, of CLIP or of a clip that is made for it.

    With --quality CLIP --alpha TRUTH, measure how near the mattes of each model come to the truth:
    MAD and MSE in thousandths of alpha, dtSSD (flicker) in hundredths, IoU at alpha 0.5, and the
    speed of one lane. Models that cannot be had here are named with the reason.
    """
    if json_path and not json_path.absolute().parent.is_dir():
        raise SettingsError(f"there is no folder for {json_path}", "make it, or name another file")
    if truth is not None:
        _refuse_besides_alpha(options | {"frames": frames, "compare": compare})
        return _judge(_the_one(clip, quality), truth, config, models, json_path, options)
    if len(models) > 1:
        raise SettingsError("--model is given twice", "several models are for --alpha")
    options |= {"model": models[0] if models else None, "quality": quality}
    from orchestrator.bench.bench import BenchRequest
    from orchestrator.bench.bench import bench as measure
    from orchestrator.bench.compare import change_table, differences
    from orchestrator.bench.result import headline, read_json, stage_table, write_json
    from orchestrator.settings.settings import settings_for

    old = read_json(compare) if compare else None
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
    return ALL_DONE


def _refuse_besides_alpha(options: dict[str, Any]) -> None:
    """Raises SettingsError: an option is given that is about speed."""
    for name, value in options.items():
        if value not in (None, ()) and name not in ("layout", "gpus"):
            option = {"formats": "format"}.get(name, name).replace("_", "-")
            raise SettingsError(f"--{option} is not for --alpha", "leave one of the two out")


def _the_one(clip: Path | None, quality: str | None) -> Path:
    if (clip is None) == (quality is None):
        raise SettingsError(
            "--alpha needs one clip", "write: vrmatte bench --quality CLIP --alpha TRUTH"
        )
    return clip or Path(str(quality))


def _judge(
    clip: Path,
    truth: Path,
    config: Path | None,
    models: tuple[str, ...],
    json_path: Path | None,
    options: dict[str, Any],
) -> int:
    """The mattes of each model beside the truth."""
    from orchestrator.bench.quality import (
        QualityRequest,
        judge_models,
        quality_table,
        remarks,
        write_quality,
    )
    from orchestrator.settings.settings import settings_for
    from pipeline.stages.matting.fetch import fetch_model

    settings = settings_for(read_settings(config, options), PurePath(clip.name))
    errors = console(stderr=True)
    with interrupted_by(signal.SIGTERM, signal.SIGHUP):
        asked = QualityRequest(settings, clip, truth, models)
        found = judge_models(asked, fetch_model, errors.print)
    answers = console()
    if found.models:
        answers.print(quality_table(found))
    for line in remarks(found):
        answers.print(line, markup=False, soft_wrap=True)
    if json_path:
        write_quality(found, json_path)
    return ALL_DONE if found.models else FAILED
