"""`output.per_object`: a file for each object that the prompts of a video name, and its name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from pipeline.contract import VideoSettings
from pipeline.deliverables.format import of_object
from pipeline.errors import SettingsError
from pipeline.prompts.prompts import Prompts
from pipeline.stages.matting.catalogue import candidates, facts_of
from pipeline.vr_tags.in_names import read_tags

#: Of an object's name within the name of a file.
_LONGEST_BYTES = 40


def require_objects(settings: VideoSettings) -> None:
    """Raises SettingsError: files of objects are asked for, and the model follows none."""
    if not settings.per_object:
        return
    if not any(facts_of(each).follows_prompts for each in candidates(settings.matting)):
        raise SettingsError(
            f"output.per_object: the model {settings.matting.model} does not tell objects apart",
            "choose sam2 (--model sam2), or set it to false",
        )


def with_objects(settings: VideoSettings, prompts: Prompts | None) -> VideoSettings:
    """The settings with formats of each object instead of all together, if that is asked for.

    A TIFF of labels tells the objects apart by itself, and stays one file.

    Raises:
        SettingsError: nobody has named the objects of the video.
    """
    if not settings.per_object:
        return settings
    require_objects(settings)
    if prompts is None:
        raise SettingsError(
            "output.per_object: no prompts name the objects of this video",
            "write a file of prompts (--prompts), or set it to false",
        )
    labels = {"tiff"} if settings.encoding.tiff_pages == "labels" else set()
    whole = [name for name in settings.deliverables if name in labels]
    apart = [name for name in settings.deliverables if name not in labels]
    numbers = range(1, len(prompts.names) + 1)
    files = [of_object(name, number) for number in numbers for name in apart]
    return replace(settings, deliverables=(*whole, *files))


def names_in_files(names: Sequence[str]) -> list[str]:
    """What the objects are called in the names of files: short, all distinct, no tags of VR.

    Args:
        names: `names[i]` is what object i+1 is called.
    """
    found: list[str] = []
    for number, name in enumerate(names, 1):
        text = re.sub(r"[^\w.-]+", "_", name)
        text = text.encode(errors="replace")[:_LONGEST_BYTES].decode(errors="ignore").strip("._-")
        taken = {other.casefold() for other in found}
        if not text or text.isdigit() or read_tags(f"x_{text}").words or text.casefold() in taken:
            text = f"{text}_object{number}".lstrip("_") if text.casefold() in taken else ""
            text = text or f"object{number}"
        while text.casefold() in taken:
            text += f"_object{number}"
        found.append(text)
    return found
