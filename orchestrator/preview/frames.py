"""Which frames a preview shows, and which overrides hold for its video."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from pathlib import Path, PurePath

from orchestrator.words import TIME_FORMS, clock, seconds_of
from pipeline.contract import VideoInfo
from pipeline.errors import SettingsError
from pipeline.prompts.prompts import Prompts
from pipeline.text import printable

#: The frames shown by default: these shares of the video's length.
_SHARES = (0.1, 0.5, 0.9)
#: Most frames with prompts that are shown by default.
_MOST_PROMPTED = 6


def path_below(folder: Path | None, video: Path) -> PurePath:
    """The path of a video as overrides see it in a run on `folder`; without one, on itself.

    Raises:
        SettingsError: it does not lie there.
    """
    if folder is None:
        return PurePath(video.name)
    # As in a run, links below the folder keep their names; those that lead to it have none.
    parents = os.path.normpath(video.parent.absolute()), os.path.realpath(video.parent)
    roots = os.path.normpath(folder.absolute()), os.path.realpath(folder)
    for parent, root in itertools.product(parents, roots):
        if PurePath(parent).is_relative_to(root):
            return PurePath(parent, video.name).relative_to(root)
    raise SettingsError(
        f"{printable(str(video))} does not lie below {printable(str(folder))}",
        "give the folder that `vrmatte run` is given",
    )


def chosen_frames(info: VideoInfo, at: Sequence[str], prompts: Prompts | None) -> tuple[int, ...]:
    """Numbers of frames of `info`, ascending.

    Raises:
        SettingsError: a time is not written as one, or is after the video's end.
    """
    if at:
        return tuple(sorted({_frame_at(info, text) for text in at}))
    if prompts is not None and prompts.prompts:
        said = sorted({prompt.frame for prompt in prompts.prompts if prompt.corrects})
        if said:
            return tuple(said[:_MOST_PROMPTED])
    return tuple(sorted({int(share * (info.num_frames - 1)) for share in _SHARES}))


def _frame_at(info: VideoInfo, text: str) -> int:
    try:
        frame = int(seconds_of(text) * info.frame_rate)
    except ValueError as error:
        raise SettingsError(str(error), f"write {TIME_FORMS}") from None
    if frame >= info.num_frames:
        raise SettingsError(
            f"{text} is after the end of {Path(info.path).name}, which is at"
            f" {clock(info.duration_s)}",
            "choose an earlier time",
        )
    return frame
