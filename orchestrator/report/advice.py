"""What to do about a flag or a doubt: words, and settings to try for that video. Nothing else says.

Pure. Only settings are suggested that an override may change (`orchestrator/settings/keys.py`).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

import yaml

from orchestrator.settings.overrides import Values
from pipeline.contract import Layout
from pipeline.judge.doubt import DoubtKind
from pipeline.judge.findings import FlagKind
from pipeline.text import printable


@dataclass(frozen=True, slots=True)
class Advice:
    """Words, and the settings to try; none where no setting helps."""

    words: str
    values: Values = field(default_factory=dict)


def _model(name: str) -> Values:
    return {"matting": {"model": name}}


_TRY_RVM = Advice("If a person is meant, try rvm.", _model("rvm"))

#: By kind of flag, and by the model that made the matte; "" is for all other models.
_FLAGS: Mapping[FlagKind, Mapping[str, Advice]] = {
    "empty": {
        "rvm": Advice(
            "If somebody is in the picture here, let rvm look at the whole eye instead of boxes"
            " around people.",
            {"matting": {"region": "whole"}},
        ),
        "chroma": Advice(
            "If the subject is in the picture here, name the screen's colour.",
            {"matting": {"chroma_color": "green"}},
        ),
        "": Advice("If a person is in the picture here, try rvm.", _model("rvm")),
    },
    "jump": {
        "rvm": Advice(
            "If nobody comes or goes here, let SAM 2 follow the subject, with rvm for its edge.",
            _model("sam2+rvm"),
        ),
        "sam2": Advice(
            "If nobody comes or goes here, let the subject be pointed out again on the way.",
            {"matting": {"continuous_correction": True}},
        ),
        "": Advice("If nobody comes or goes here, try rvm.", _model("rvm")),
    },
    "eyes_disagree": {
        "": Advice(
            "Look at both eyes. Let the one that is right mend the other.",
            {"stereo": {"mode": "master_slave", "master_eye": "left"}},
        ),
    },
    "flicker": {
        "rvm": Advice(
            "Try the finer network, which is slower.", {"matting": {"rvm_variant": "resnet50"}}
        ),
        "sam2": Advice("Let rvm draw the edge of the subject.", _model("sam2+rvm")),
        "": _TRY_RVM,
    },
    "touches_edge": {
        "": Advice(
            "The camera did not see all of the subject here: no setting brings the rest back."
        ),
    },
}

#: Of a flag at the border of two segments: every model but those of single frames looks ahead.
AT_A_BORDER = Advice(
    "It lies where two segments meet. If the matte changes there, let the model see more frames"
    " before each segment.",
    {"streaming": {"warmup_frames": 72}},
)

#: Videos that cannot be read to their end, or not in all frames.
DAMAGED = Advice("Copy the file again from its camera, or remux it, and run again.")


def flag_advice(kind: FlagKind, model: str, right_eye_is_wrong: bool | None = None) -> Advice:
    """What to do about flags of a kind.

    Args:
        model: that made the matte.
        right_eye_is_wrong: None where both are, or it is not known.
    """
    by_model = _FLAGS[kind]
    advice = by_model.get(model) or by_model.get(model.partition("+")[0]) or by_model[""]
    if kind == "eyes_disagree" and right_eye_is_wrong is False:
        return Advice(advice.words, {"stereo": {"mode": "master_slave", "master_eye": "right"}})
    return advice


def doubt_values(kind: DoubtKind, model: str, layout: Layout) -> Values:
    """The settings to try first where a matte is doubted; its own words are `Doubt.advice`."""
    if model != "rvm":
        return _model("rvm")
    if kind == "eyes_disagree":  # halves of one picture, most likely
        return {"input": {"layout": "mono"}}
    return _model("sam2" if layout == "mono" else "depth")


def left_out_advice(left_out: tuple[str, ...], made: tuple[str, ...]) -> Advice:
    """Of formats that cannot be made of a video, beside those that were made."""
    what = "this format" if len(left_out) == 1 else "these formats"
    if not made:
        return Advice(f"Ask for other formats of this video: {what} cannot be had.")
    return Advice(
        f"If {what} may be missing, ask for the others only.",
        {"output": {"formats": list(made)}},
    )


def override_text(name: str, values: Values) -> str:
    """The override of one video as a settings file holds it.

    Args:
        name: of the video, its path relative to the input.
    """
    entry = {"match": pattern_of(name), **{group: dict(keys) for group, keys in values.items()}}
    return str(
        yaml.safe_dump({"overrides": [entry]}, sort_keys=False, allow_unicode=True, width=100_000)
    )


def redo_text(name: str, values: Values, part: tuple[float, float] | None) -> str:
    """The command that makes a part of a finished video again with these settings.

    Args:
        name: of the video.
        part: times of its outputs, in seconds; None: all of it.

    Returns:
        Empty where a redo cannot change them.
    """
    if not values or not values.keys().isdisjoint(("input", "output")):
        return ""
    options = []
    if part is not None:
        begin, end = part
        options += ["--from", f"{begin:.2f}", "--to", f"{max(end, begin + 0.01):.2f}"]
    for group, keys in values.items():
        for key, value in keys.items():
            said = str(value).lower() if isinstance(value, bool) else str(value)
            is_model = (group, key) == ("matting", "model")
            options += ["--model", said] if is_model else ["--set", f"{group}.{key}={said}"]
    video = ["OUT", printable(name)]
    words = [*options, "--", *video] if name.startswith("-") else [*video, *options]
    return shlex.join(["vrmatte", "redo", *words])


def pattern_of(name: str) -> str:
    """A `match` that the name satisfies, and none but like ones do.

    What cannot be shown of it, U+FFFD among it (`pipeline.text.printable`), matches any character.
    """
    return "".join(_piece(character) for character in name)


def _piece(character: str) -> str:
    if character in "*?[":
        return f"[{character}]"
    shown = character.isprintable() and character != "\N{REPLACEMENT CHARACTER}"
    return character if shown else "?"
