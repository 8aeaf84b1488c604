"""`vrmatte enhance`: a run that cuts nobody out and makes the pictures larger and steadier."""

from __future__ import annotations

from typing import Any

import click

from orchestrator.commands.options import Times
from orchestrator.commands.run import run
from orchestrator.settings.presets import PRESETS

#: Options of `vrmatte run` that are about mattes, or that have another meaning here.
_NOT_HERE = frozenset(
    ("model", "prompts", "dlc_csv", "dlc_parts", "dlc_likelihood", "formats", "scale", "enhance")
) | {"preset", "quality", "every", "gated"}

_THEATERS = [name for name in PRESETS if name.startswith("theater_")]


@click.command(
    params=[
        *(each for each in run.params if each.name not in _NOT_HERE),
        click.Option(
            ["--scale", "times"], type=Times(), help="How many times as wide and high; 2."
        ),
        click.Option(["--preset"], type=click.Choice(_THEATERS), help="A named set of settings."),
        click.Option(
            ["--quality", "enhancing"],
            type=click.Choice(["fast", "balanced", "best"]),
            help="fast: each frame by itself; balanced: steadied by the frame before, and calmed"
            " before it is made larger; best: by two frames. balanced by default.",
        ),
        click.Option(
            ["--upscaler"],
            metavar="NAME|FILE",
            help="What makes pictures larger: span, compact, lanczos, or a file of weights.",
        ),
    ]
)
def enhance(
    times: int | None,
    preset: str | None,
    enhancing: str | None,
    upscaler: str | None,
    **options: Any,
) -> int:
    """Make the videos in the folders or files INPUT larger, and steadier in time.

    Both eyes alike; sound and tags are kept; frames never touch the disk. The same command resumes.
    What is cut out instead, and larger: `vrmatte run --enhance 2`.
    """
    asked: dict[str, Any] = {"scale": times, "quality": enhancing, "model": upscaler}
    if preset is None and times is None:
        asked["scale"] = 2
    shared: dict[str, Any] = {
        **options,
        "preset": preset,
        "gated": False,
        "model": "none",
        "formats": ("video",),
    }
    shared |= {f"enhance.{key}": value for key, value in asked.items() if value is not None}
    assert run.callback is not None
    status: int = run.callback(**shared)
    return status
