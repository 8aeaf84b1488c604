"""Look whether the code and weights of models are here, or can be had.

Fetches nothing, and loads no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from orchestrator.doctor.findings import Finding
from orchestrator.doctor.trials import Trials, Tried, WeightsTrial
from pipeline.contract import MattingSettings
from pipeline.stages.matting.catalogue import (
    MODELS,
    function_of,
    usable,
    weights_used,
    without_weights,
)
from pipeline.stages.matting.facts import ModelFacts, Weights
from pipeline.stages.matting.weights import hub_folder, is_local
from pipeline.text import printable

GROUP = "models"

#: A checkpoint of 900 MB is read as a whole, from a network disk with 20 MB/s.
LOOK_DEADLINE_S = 60.0

#: All sources of weights are asked at once, and have so long to answer.
REACH_S = 3.0


def known_weights() -> dict[str, tuple[Weights, ModelFacts]]:
    """The weights of all models by name, each with the first model that has them."""
    found: dict[str, tuple[Weights, ModelFacts]] = {}
    for row in usable():
        if row.weights is not None:
            found.setdefault(row.weights.name, (row.weights, row))
    return found


def weights_of(matting: MattingSettings) -> dict[str, str]:
    """Which code and weights these settings choose, by name ("rvm", "sam2")."""
    return {name: weights.choice(matting) for name, (weights, _) in known_weights().items()}


def look(matting: MattingSettings) -> dict[str, str]:
    """What of all models' code and weights is not here, in words, by name."""
    found = {name: _missing(*known, matting) for name, known in known_weights().items()}
    return {name: lacks for name, lacks in found.items() if lacks is not None}


def _missing(weights: Weights, row: ModelFacts, matting: MattingSettings) -> str | None:
    try:
        found: str | None = function_of(row, weights.missing)(matting)
        return found
    except Exception as error:
        if row.name in MODELS.built_in:
            raise
        # Another package's code may raise anything; it costs its own weights alone.
        return printable(
            f"it cannot be seen whether they are here: {type(error).__name__}: {error}"
        )


def missing(matting: MattingSettings, trials: Trials) -> Tried:
    """As `look`, in the child of `trials`: words, unless it did not answer."""
    return trials.run(WeightsTrial(matting), LOOK_DEADLINE_S)


def lacking(matting: MattingSettings, looked: Mapping[str, str]) -> str | None:
    """What the model lacks, in words, by what `look` found; None if nothing."""
    lacks = [looked[name] for name in sorted(weights_used(matting)) if name in looked]
    return "; ".join(lacks) or None


def unreachable(weights: Weights, row: ModelFacts, matting: MattingSettings) -> str | None:
    """Why missing weights cannot be fetched, in words; None where that can be, or is not known."""
    if weights.unreachable is None:
        return None
    try:
        found: str | None = function_of(row, weights.unreachable)(matting, REACH_S)
        return found
    except Exception as error:
        if row.name in MODELS.built_in:
            raise
        return printable(f"{type(error).__name__}: {error}")


def weights_findings(
    matting: MattingSettings,
    tried: Tried,
    reach: Callable[[Weights, ModelFacts, MattingSettings], str | None] = unreachable,
) -> Iterator[Finding]:
    """Of all weights, for the model that the settings choose.

    Args:
        tried: what `missing` gave.
        reach: asked for those that are missing and needed.
    """
    if tried.outcome != "works":
        advice = f"the models' cache is {hub_folder()}: mend its disk, or set TORCH_HOME"
        yield Finding(GROUP, "weights", "broken", f"{tried.outcome}: {tried.said}", advice)
        return
    used = weights_used(matting)
    for name, (weights, row) in known_weights().items():
        lacks, local = tried.words.get(name), weights.local(matting)
        if lacks is None:
            yield Finding(GROUP, f"weights of {name}", "ok", "its weights are here")
        elif name not in used:
            said = f"{lacks}, and not needed for matting.model: {matting.model}"
            yield Finding(GROUP, f"weights of {name}", "ok", said)
        elif "has changed" in lacks or (local is not None and is_local(local)):
            yield Finding(
                GROUP, f"weights of {name}", "broken", lacks, "mend it, or choose another --model"
            )
        else:
            why = reach(weights, row, matting)
            yield Finding(
                GROUP,
                f"weights of {name}",
                "warning" if why is None else "broken",
                f"{lacks}: the first run fetches it, if there is a network"
                if why is None
                else printable(f"{lacks}, and cannot be fetched ({why})"),
                "`vrmatte models fetch` with the same --config and --model, where there is a"
                f" network (then copy its cache, TORCH_HOME, to {hub_folder().parent}); models that"
                f" fetch nothing: {without_weights()}",
            )
