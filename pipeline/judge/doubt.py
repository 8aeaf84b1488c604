"""Says whether a matte is of use at all, and which model to try otherwise. Pure.

Loads no torch. Flags (`pipeline/judge/flags.py`) name frames that deserve a look in a matte that
is right; a doubt says that the whole is hardly what was meant. The run, its trial, the preview and
`status` have the findings of a chain over some frames, and all ask `doubts_of`: so they agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from pipeline.contract import Finding
from pipeline.judge.findings import Judged
from pipeline.judge.sums import WHOLE, MatteSums

#: The gravest first.
DoubtKind = Literal[
    "nothing_found", "elsewhere", "everything", "eyes_disagree", "sky", "overhead", "scraps"
]

#: From which share on, 0..1, a matte is doubted. Beside each: the largest of right mattes, and the
#: smallest of the wrong ones that it is there for (docs/benchmarks/011-doubt.md).
THRESHOLDS: Mapping[DoubtKind, float] = {
    "nothing_found": 0.9,  # 0.00, 1.00
    "elsewhere": 0.5,  # of a few frames of a trial
    "everything": 0.7,  # 0.38, 0.81
    "eyes_disagree": 0.5,  # 0.00, 0.96
    "sky": 0.6,  # 0.37, drawn only
    "overhead": 0.05,  # 0.00, 0.13
    "scraps": 0.3,  # 0.21, 0.38
}


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why a matte is likely of no use.

    Attributes:
        seen: what was seen of it.
        advice: what to try instead.
    """

    kind: DoubtKind
    seen: str
    advice: str

    def __str__(self) -> str:
        return f"{self.seen} ({self.advice})"


def doubts_of(findings: Iterable[Finding], model: str) -> tuple[Doubt, ...]:
    """The doubts about all the frames together that findings tell of, the gravest first.

    Args:
        findings: of one or several passes of the chain, over segments or single frames, in any
            order. Of an earlier version's frames nothing is known: they are passed over.
        model: that made the mattes.
    """
    return doubts(Judged.read(findings).sums, model)


def doubts(sums: MatteSums, model: str) -> tuple[Doubt, ...]:
    """See `doubts_of`; none where nothing was measured."""
    shares = measures(sums)
    kinds = [kind for kind, least in THRESHOLDS.items() if shares.get(kind, 0.0) >= least]
    if "nothing_found" in kinds:  # the rest is about a few frames
        kinds = ["nothing_found"]
    return tuple(Doubt(kind, _seen(kind, sums, model), advice(kind, model)) for kind in kinds)


def measures(sums: MatteSums) -> dict[DoubtKind, float]:
    """What each kind goes by, 0..1: shares of the frames, and means over those that hold a matte.

    Without frames there is nothing; without a matte in them, the first alone.
    """
    if not sums.frames:
        return {}
    found: dict[DoubtKind, float] = {"nothing_found": sums.empty / sums.frames}
    if sums.persons:
        found["elsewhere"] = sums.missed / sums.persons
    if held := sums.frames - sums.empty:
        found |= {
            "everything": sums.area / WHOLE / held,
            "eyes_disagree": sums.disagreeing / sums.frames,
            "sky": sums.sky / WHOLE / held,
            "overhead": sums.zenith / WHOLE / held,
            "scraps": sums.scraps / WHOLE / held,
        }
    return found


def advice(kind: DoubtKind, model: str) -> str:
    """Which model to try instead, and how."""
    other = _ADVICE.get(model, "try rvm for people; `vrmatte models list` names the others")
    if kind == "elsewhere" and model != "rvm":
        return "try rvm, which sees the person"
    return f"check --layout; {other}" if kind == "eyes_disagree" else other


#: By the model that made the matte.
_ADVICE: Mapping[str, str] = {
    "rvm": "it finds people only; for another subject try sam2 with a prompt, depth for two eyes,"
    " or plate on a tripod",
    "sam2": "point at the subject with a prompt, or try rvm for people",
    "sam2+rvm": "point at the subject with a prompt, or try rvm for people",
    "chroma": "name the screen's colour in matting.chroma_color; without a screen try rvm for"
    " people",
    "plate": "it needs a tripod and a subject that moves about, or matting.plate_image; otherwise"
    " try rvm for people",
    "depth": "try rvm for people, or sam2 with a prompt",
}


def _seen(kind: DoubtKind, sums: MatteSums, model: str) -> str:
    share = measures(sums)[kind]
    if kind == "nothing_found":
        what = "no person" if model == "rvm" else "nothing"
        return f"{what} was found in {sums.empty} of {sums.frames} frames"
    if kind == "elsewhere":
        where = f"in {sums.missed} of the {sums.persons} frames in which rvm sees a person"
        return f"the matte leaves out the person {where}"
    if kind == "everything":
        return f"the matte holds {share:.0%} of the picture"
    if kind == "eyes_disagree":
        return f"the eyes hold different mattes in {sums.disagreeing} of {sums.frames} frames"
    if kind == "sky":
        return f"the matte is smooth and lies along the upper edge, as sky does ({share:.0%})"
    if kind == "overhead":
        return f"the matte reaches straight up, as sky and ceilings do ({share:.0%} of that edge)"
    return f"the matte is in scraps: gaps, and edges that are half transparent ({share:.0%})"
