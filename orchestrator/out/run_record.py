"""What ``run.yaml`` must hold to be read by others than who wrote it: shapes of its fields.

The file lies in a folder of a person, and a full disk, another version or an editor may have left
anything in it. What is sound of it is used; videos that are not are counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.text import printable

#: Optional fields of a video, and of what kind each is where it is there.
_OPTIONAL: dict[str, tuple[type, ...]] = {
    "settings": (str,),
    "model": (str,),
    "model_why": (str,),
    "made_with": (str,),
    "start_frame": (int,),
    "max_frames": (int, type(None)),
    "every": (int,),
    "left_out": (list,),
    "differs": (dict,),
}


def sound_record(said: Any) -> tuple[dict[str, Any], int]:
    """The record with its sound videos, and how many are damaged.

    Raises:
        ValueError: it is no record of a run at all.
    """
    if not isinstance(said, dict):
        raise ValueError("it holds no fields")
    for name, kind in (("fingerprint", str), ("started", str), ("videos", list)):
        if not isinstance(said.get(name), kind):
            raise ValueError(f"its field {name!r} is not there or not sound")
    videos = sound_videos(said["videos"])
    aside = said.get("set_aside")
    asides = aside if isinstance(aside, list) else []
    sound = [each for each in asides if _is_aside(each)]
    settings = said.get("settings")
    record = {
        **said,
        "version": str(said.get("version", "")),
        "command": str(said.get("command", "")),
        "started": printable(said["started"], 40),
        "videos": videos,
        "set_aside": sound,
        "settings": _with_matting(settings if isinstance(settings, dict) else {}),
        "inputs": [str(each) for each in _list(said.get("inputs"))],
    }
    return record, len(said["videos"]) - len(videos) + len(asides) - len(sound)


def sound_videos(said: Any) -> list[dict[str, Any]]:
    """Those videos in a list of them that are sound."""
    return [video for video in _list(said) if _is_video(video)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _with_matting(settings: dict[str, Any]) -> dict[str, Any]:
    """With the group whose model is that of videos which name none."""
    matting = settings.get("matting")
    group = matting if isinstance(matting, dict) else {}
    model = group.get("model")
    return {**settings, "matting": {**group, "model": model if isinstance(model, str) else ""}}


def _is_aside(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(name), str) for name in ("name", "reason")
    )


def _is_video(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    segments, outputs = value.get("segments"), value.get("outputs")
    return (
        isinstance(value.get("id"), str)
        and isinstance(value.get("name"), str)
        and _is_count(value.get("frames"))
        and isinstance(outputs, list)
        and all(isinstance(path, str) for path in outputs)
        and isinstance(segments, list)
        and all(_is_segment(segment) for segment in segments)
        and _options_are_sound(value)
    )


def _options_are_sound(video: Mapping[str, Any]) -> bool:
    kinds = all(isinstance(video[name], kind) for name, kind in _OPTIONAL.items() if name in video)
    return kinds and video.get("every", 1) >= 1 and video.get("start_frame", 0) >= 0


def _is_segment(value: Any) -> bool:
    pair = isinstance(value, list) and len(value) == 2 and all(map(_is_count, value))
    return pair and value[0] < value[1]


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
