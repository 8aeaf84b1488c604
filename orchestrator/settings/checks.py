"""What is wrong with settings whose values are each right: ranges, names of models and formats."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from orchestrator.settings.name_template import name_template
from orchestrator.settings.yaml_file import Keys
from orchestrator.words import seconds_of
from pipeline.deliverables.formats import FORMATS, require_formats
from pipeline.errors import SettingsError
from pipeline.stages.matting.catalogue import model_problems

if TYPE_CHECKING:
    from orchestrator.settings.settings import Settings

#: The keys of a wrong value, and what is wrong with it; the message does not say where it stands.
Problem = tuple[Keys, SettingsError]


def problems(settings: Settings) -> Iterator[Problem]:
    """All that is wrong with the settings, whatever the machine and the videos."""
    yield from _range_problems(settings)
    for key, error in model_problems(settings.matting):
        yield ("matting", key), error
    yield from _format_problems(settings)


def _range_problems(settings: Settings) -> Iterator[Problem]:
    """An end of the range is given twice, or it ends before it begins."""
    given = settings.input
    for time, frame, is_given in (
        ("start", "start_frame", given.start is not None and given.start_frame != 0),
        ("end", "max_frames", given.end is not None and given.max_frames is not None),
    ):
        if is_given:
            yield (
                ("input", time),
                SettingsError(
                    f"input.{time} and input.{frame} are both given", "keep one of the two"
                ),
            )
    if given.start and given.end and seconds_of(given.end) <= seconds_of(given.start):
        yield (
            ("input", "end"),
            SettingsError(
                f"the range ends at {given.end} and begins at {given.start}", "let it end later"
            ),
        )


def _format_problems(settings: Settings) -> Iterator[Problem]:
    """Formats that cannot be made, or not beside those before them, or not by such names."""
    tagged = name_template(settings.output.name).tagged
    sound: list[str] = []
    for place, name in enumerate(settings.output.formats):
        try:
            require_formats([*sound, name])
        except SettingsError as error:
            yield ("output", "formats", place), error
            continue
        sound.append(name)
        if FORMATS[name].alpha == "packed" and not tagged:
            yield (
                ("output", "formats", place),
                SettingsError(
                    f"players find the matte of {name!r} by tags in its name, and output.name"
                    " (--name) has none",
                    "add {tags} to its end, or choose another format",
                ),
            )
