"""Which code and weights of models are at hand. Looks only: never fetches, loads no torch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlparse

from orchestrator.doctor.findings import Finding
from orchestrator.doctor.trials import Trials, Tried, WeightsTrial
from pipeline.contract import MattingSettings
from pipeline.stages.matting.sam2.weights import address
from pipeline.stages.matting.weights import hub_folder, sha256_of

GROUP = "models"

#: A checkpoint of 900 MB is read as a whole, from a network disk with 20 MB/s.
LOOK_DEADLINE_S = 60.0

_RVM_FETCH = "`vrmatte models fetch` where there is a network"
_SAM2_FETCH = "`vrmatte models fetch --config FILE`, FILE saying matting.model: sam2"


def models_used(matting: MattingSettings) -> frozenset[str]:
    """The model, and those that it asks."""
    if matting.model == "sam2":
        return frozenset({"sam2", matting.sam2_seed})
    if matting.model == "sam2+rvm":
        return frozenset({"sam2", matting.sam2_seed, matting.sam2_edge})
    return frozenset({matting.model})


def weights_of(matting: MattingSettings) -> dict[str, str]:
    """Which code and weights these settings choose, by name ("rvm", "sam2")."""
    rvm = (matting.rvm_variant, matting.rvm_repo, matting.rvm_weights or "")
    return {
        "rvm": " ".join(rvm).strip(),
        "sam2": f"{matting.sam2_size} {matting.sam2_checkpoint or ''}".strip(),
    }


def look(matting: MattingSettings) -> dict[str, str]:
    """What of RVM and SAM 2 is not at hand, in words, by name; no entry where nothing is."""
    found = {"rvm": _rvm_lacks(matting), "sam2": _sam2_lacks(matting)}
    return {name: lacks for name, lacks in found.items() if lacks is not None}


def missing(matting: MattingSettings, trials: Trials) -> Tried:
    """As `look`, in the child of `trials`: words, unless it did not answer."""
    return trials.run(WeightsTrial(matting), LOOK_DEADLINE_S)


def lacking(matting: MattingSettings, looked: Mapping[str, str]) -> str | None:
    """What the model lacks, in words, by what `look` found; None if nothing."""
    lacks = [looked[name] for name in sorted(models_used(matting)) if name in looked]
    return "; ".join(lacks) or None


def weights_findings(matting: MattingSettings, tried: Tried) -> Iterator[Finding]:
    """Of RVM and SAM 2, for the model that the settings choose.

    Args:
        tried: what `missing` gave.
    """
    if tried.outcome != "works":
        advice = f"the models' cache is {hub_folder()}: mend its disk, or set TORCH_HOME"
        yield Finding(GROUP, "weights", "broken", f"{tried.outcome}: {tried.said}", advice)
        return
    used = models_used(matting)
    local = {"rvm": matting.rvm_weights, "sam2": matting.sam2_checkpoint}
    for name, fetch in (("rvm", _RVM_FETCH), ("sam2", _SAM2_FETCH)):
        lacks = tried.words.get(name)
        if lacks is None:
            yield Finding(GROUP, f"weights of {name}", "ok", "its weights are here")
        elif name not in used:
            said = f"{lacks}, and not needed for matting.model: {matting.model}"
            yield Finding(GROUP, f"weights of {name}", "ok", said)
        elif "has changed" in lacks or _is_file(local[name]):
            yield Finding(
                GROUP, f"weights of {name}", "broken", lacks, "mend it, or choose another --model"
            )
        else:
            yield Finding(
                GROUP,
                f"weights of {name}",
                "warning",
                f"{lacks}: the first run fetches it, if there is a network",
                f"{fetch}; chroma, plate and depth need none",
            )


def _is_file(source: str | None) -> bool:
    return source is not None and urlparse(source).scheme not in ("http", "https")


def _rvm_lacks(matting: MattingSettings) -> str | None:
    repository = Path(matting.rvm_repo).expanduser()
    if not repository.is_dir():
        named = re.sub(r"[/:]", "_", matting.rvm_repo)  # as torch.hub names its folders
        repository = hub_folder() / named
    if not (repository / "hubconf.py").is_file():
        return "RVM's code is not here"
    source = matting.rvm_weights or f"https://-/rvm_{matting.rvm_variant}.pth"
    return _file_lacks(source, "RVM's weights")


def _sam2_lacks(matting: MattingSettings) -> str | None:
    return _file_lacks(matting.sam2_checkpoint or address(matting.sam2_size), "SAM 2's weights")


def _file_lacks(source: str, what: str) -> str | None:
    """See `pipeline.stages.matting.weights.fetch_file`, which would fetch what is missing."""
    if _is_file(source):
        path = Path(source).expanduser()
        return None if path.is_file() else f"{what} are not at {path}"
    path = hub_folder() / "checkpoints" / Path(urlparse(source).path).name
    if not path.is_file():
        return f"{what} are not here"
    record = path.with_name(f"{path.name}.sha256")
    if record.is_file() and record.read_text().split()[:1] != [sha256_of(path)]:
        return f"{what} at {path}: its sha256 has changed since it was fetched"
    return None
