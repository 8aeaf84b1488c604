"""Find, read and check the prompts of each video while the run is planned.

A mistake that concerns every video ends the command before anything is probed; prompts that do not
fit one video cost only that video.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.contract import MattingSettings, VideoInfo
from pipeline.errors import SettingsError
from pipeline.prompts.deeplabcut import as_prompts, read_tracks
from pipeline.prompts.prompts import (
    Prompt,
    Prompts,
    find_prompts,
    read_prompts,
    require_prompts_file,
)
from pipeline.source.timing.frame_index import FrameIndex
from pipeline.stages.matting.catalogue import candidates, facts_of, usable
from pipeline.text import printable


def require_follower(matting: MattingSettings) -> None:
    """Raises SettingsError where prompts are named and the model follows none."""
    for key, name in (("prompts", matting.prompts), ("dlc_csv", matting.dlc_csv)):
        follows = any(facts_of(each).follows_prompts for each in candidates(matting))
        if name is not None and not follows:
            raise SettingsError(
                f"matting.{key}: the model {matting.model} follows no prompts",
                f"models that follow prompts: {_followers()}",
            )


def _followers() -> str:
    return ", ".join(row.name for row in usable() if row.follows_prompts)


def settled_prompts(matting: MattingSettings) -> MattingSettings:
    """The settings with absolute paths of prompts and tracks.

    Raises:
        SettingsError: a file cannot be read, or fits no video at all.
    """
    matting = replace(matting, prompts=_whole(matting.prompts), dlc_csv=_whole(matting.dlc_csv))
    if matting.prompts is not None and not Path(matting.prompts).is_dir():
        require_prompts_file(Path(matting.prompts))
    if matting.dlc_csv is not None:
        read_tracks(
            Path(matting.dlc_csv), matting.dlc_bodyparts, matting.dlc_likelihood, num_frames=None
        )
    return matting


def prompts_for(
    matting: MattingSettings, source: Path, info: VideoInfo, index_path: Path
) -> Prompts | None:
    """The prompts for a video, or None; looked for beside it where the model follows prompts.

    Args:
        info: the whole video, in whose frames prompts count.
        source: the video by the name that it has in its folder.
        index_path: its frame index; read where `needs_index`.

    Raises:
        SettingsError: the prompts are wrong, or do not fit the video.
    """
    named = matting.prompts is not None or matting.dlc_csv is not None
    if not named and not facts_of(matting).follows_prompts:
        return None
    if matting.dlc_csv is not None:
        path = Path(matting.dlc_csv)
        table = read_tracks(path, matting.dlc_bodyparts, matting.dlc_likelihood, info.source_frames)
        shown = list(range(info.num_frames))
        if needs_index(matting, info):
            shown = FrameIndex.load(index_path).source_frames(0, info.num_frames).tolist()
        return as_prompts(table, info, shown, correct_every=matting.correction_interval)
    found = find_prompts(None if matting.prompts is None else Path(matting.prompts), source)
    return None if found is None else read_prompts(found, info)


def unused_prompts(matting: MattingSettings, source: Path) -> str | None:
    """What is to be said of a file of prompts beside a video whose model follows none."""
    if facts_of(matting).follows_prompts:
        return None
    found = find_prompts(None, source)
    if found is None:
        return None
    return printable(
        f"{found.name} is not used: the model {matting.model} follows no prompts"
        f" (models that do: {_followers()})"
    )


def on_frames_taken(prompts: Prompts, info: VideoInfo) -> Prompts:
    """Each prompt on the nearest of the frames taken (`VideoInfo.every_nth`), in their numbering.

    Where several of an object meet in one of them, those that were nearest to it remain.
    """
    return replace(prompts, prompts=tuple(_moved(prompts.prompts, info)))


def _moved(prompts: Sequence[Prompt], info: VideoInfo) -> Iterator[Prompt]:
    meeting: dict[tuple[int, int, int], list[Prompt]] = {}
    for prompt in prompts:
        nearest = round((prompt.frame - info.phase) / info.every)
        taken = min(max(0, nearest), info.num_frames - 1)
        meeting.setdefault((prompt.object_id, prompt.eye, taken), []).append(prompt)
    for (_, _, taken), group in meeting.items():
        exact = info.phase + taken * info.every
        kept = min((abs(prompt.frame - exact), prompt.frame) for prompt in group)[1]
        corrects = any(prompt.corrects for prompt in group)
        for prompt in group:
            if prompt.frame == kept:
                yield replace(prompt, frame=taken, corrects=corrects)


def needs_index(matting: MattingSettings, info: VideoInfo) -> bool:
    """Whether the video's frame index is needed to tell which frames the prompts are for."""
    return matting.dlc_csv is not None and info.variable_rate


def _whole(name: str | None) -> str | None:
    return None if name is None else str(Path(name).expanduser().absolute())
