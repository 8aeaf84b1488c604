"""Compiled networks that were kept: the same bits as those just made, and never a wrong one."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.engines import compiled_files, openvino
from pipeline.engines.compiled_files import CompiledFiles, Key, code_digest
from pipeline.stages.matting.rvm.coefficients import Coefficients, shrink
from pipeline.stages.matting.rvm.recurrence import example_of
from tests.pipeline.stages.matting.rvm.test_network import by_openvino, clip, make_network, matte

KEY = ((2, 3, 40, 56), True)


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def never(*args: object) -> Any:
    raise AssertionError("it was made again")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the one compiled network of `KEY`."""
    folder = tmp_path_factory.mktemp("compiled")
    by_openvino(folder).start(2, 80, 112, {})
    return folder


@pytest.fixture(scope="module")
def expected(kept: Path) -> tuple[Tensor, Tensor]:
    return matte(by_openvino(kept), clip(2, 80, 112), 3)


def test_the_next_start_takes_what_was_kept(
    kept: Path, expected: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    (before,) = files(kept)
    monkeypatch.setattr(openvino, "_convert", never)
    assert all(map(torch.equal, expected, matte(by_openvino(kept), clip(2, 80, 112), 3)))
    assert files(kept) == [before]


@torch.inference_mode()
def test_what_was_kept_answers_as_what_was_compiled_just_now(kept: Path) -> None:
    pictures = [shrink(picture, 0.5) for picture in clip(2, 80, 112)]
    runners = by_openvino(kept)._runners
    part = Coefficients(make_network(), True).eval()
    example = example_of(part, torch.zeros(KEY[0]))
    builder = openvino.OpenVino(1, torch.device("cpu"))
    fresh = builder.open(builder.build(part, example), example)
    taken = runners.take(KEY)
    for picture in pictures:
        ours = [answer.clone() for answer in (*taken(picture), *taken.states)]
        theirs = [*fresh(picture), *fresh.states]
        assert all(map(torch.equal, ours, theirs))


@pytest.mark.parametrize("damage", ["empty", "cut off", "altered", "of another program"])
def test_a_file_that_is_not_whole_is_made_again(
    damage: str, kept: Path, expected: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    (good,) = files(kept)
    content = good.read_bytes()
    foreign = b"no network at all"
    copy = tmp_path / good.name
    copy.write_bytes(
        {
            "empty": b"",
            "cut off": content[: len(content) // 2],
            "altered": content[:-1] + bytes([content[-1] ^ 1]),
            "of another program": hashlib.sha256(foreign).digest() + foreign,
        }[damage]
    )
    assert all(map(torch.equal, expected, matte(by_openvino(tmp_path), clip(2, 80, 112), 3)))
    assert files(tmp_path) == [copy]
    assert hashlib.sha256(copy.read_bytes()[32:]).digest() == copy.read_bytes()[:32]
    assert len(copy.read_bytes()) > len(content) // 2


def test_several_workers_at_once_leave_one_whole_file(
    expected: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    rgb, networks = clip(2, 80, 112), [make_network() for _ in range(3)]

    def work(network: nn.Module) -> tuple[Tensor, Tensor]:
        return matte(by_openvino(tmp_path, network=network), rgb, 3)

    with ThreadPoolExecutor(3) as pool:
        for made in pool.map(work, networks):
            assert all(map(torch.equal, expected, made))
    assert len(files(tmp_path)) == 1


def test_whatever_it_is_made_of_has_a_name_of_its_own(kept: Path, tmp_path: Path) -> None:
    (before,) = files(kept)
    other: nn.Module = make_network()
    with torch.no_grad():
        next(other.parameters()).flatten()[0] += 1e-6
    for model in (by_openvino(tmp_path, network=other), by_openvino(tmp_path, threads=2)):
        model.start(2, 80, 112, {})
    by_openvino(tmp_path).start(1, 80, 112, {})
    assert len(files(tmp_path)) == 3
    assert before.name not in [path.name for path in files(tmp_path)]


def test_code_is_told_by_its_files_and_hidden_folders_do_not_count(tmp_path: Path) -> None:
    for name in ("hubconf.py", "model/model.py", ".venv/lib/other.py", "README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("a")
    before = code_digest(tmp_path)
    (tmp_path / ".venv/lib/other.py").write_text("b")
    (tmp_path / "README.md").write_text("b")
    assert code_digest(tmp_path) == before
    (tmp_path / "model/model.py").write_text("b")
    assert code_digest(tmp_path) != before


def key(**changed: Any) -> Key:
    made = Key(
        engine="tensorrt",
        network="rvm",
        weights="abc",
        shapes=((1, 3, 8, 8),),
        precision="fp16",
        device="NVIDIA L4",
        versions=("driver 590.44", "torch 2.15.0"),
    )
    return replace(made, **changed)


def test_only_so_many_are_kept_of_an_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled_files, "_KEPT", 3)
    kept = CompiledFiles(tmp_path)
    for number in range(5):
        kept.keep(key(weights=str(number)), b"content")
    kept.keep(key(engine="openvino"), b"another's")
    assert len(files(tmp_path)) == 4
    last = kept.read(key(weights="4"))
    assert last is not None
    assert last.content == b"content"


def test_a_folder_that_cannot_be_written_costs_time_only(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    kept = CompiledFiles(tmp_path / "file" / "folder")
    kept.keep(key(), b"content")
    assert kept.read(key()) is None


OTHERS: list[dict[str, Any]] = [
    {"network": "rvm, refined"},
    {"weights": "abd"},
    {"shapes": ((2, 3, 8, 8),)},
    {"precision": "fp32"},
    {"device": "NVIDIA L40S"},
    {"options": "x"},
]


@pytest.mark.parametrize("changed", OTHERS, ids=lambda changed: next(iter(changed)))
def test_what_differs_in_anything_is_another_engine(
    changed: dict[str, Any], tmp_path: Path
) -> None:
    kept = CompiledFiles(tmp_path)
    kept.keep(key(), b"one")
    kept.keep(key(**changed), b"other")
    found = [kept.read(each) for each in (key(), key(**changed))]
    assert [each.content for each in found if each is not None] == [b"one", b"other"]


@pytest.mark.parametrize("versions", [("driver 600.1", "torch 2.15.0"), ("driver 590.44",)])
def test_what_was_built_for_another_driver_or_library_is_deleted(
    versions: tuple[str, ...], tmp_path: Path
) -> None:
    kept = CompiledFiles(tmp_path)
    kept.keep(key(versions=versions, weights="old"), b"stale")
    kept.keep(key(versions=versions, device="NVIDIA L40S"), b"of another machine")
    kept.keep(key(versions=versions, engine="openvino"), b"of another engine")
    kept.keep(key(), b"new")
    left = {each.content for each in kept.all()}
    assert left == {b"new", b"of another machine", b"of another engine"}


def test_a_file_is_found_by_the_digest_of_its_content_and_a_refusal_has_its_reason(
    tmp_path: Path,
) -> None:
    kept = CompiledFiles(tmp_path)
    digest = kept.keep(key(), b"content")
    found = kept.of_digest(digest)
    assert found is not None
    assert (found.key, found.content, found.refused) == (key(), b"content", None)
    kept.refuse(key(), "it is black")
    assert kept.of_digest(digest) is None
    refused = kept.read(key())
    assert refused is not None
    assert (refused.refused, refused.content) == ("it is black", b"")
    assert kept.clear() == 1
    assert kept.all() == []


def test_a_draft_that_was_cut_off_is_nobodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    kept = CompiledFiles(tmp_path)
    monkeypatch.setattr("os.fsync", full)
    kept.keep(key(), b"content")
    assert files(tmp_path) == []
