"""Compiled networks that were kept: the same bits as those just made, and never a wrong one."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openvino as ov  # type: ignore[import-untyped]
import pytest
import torch
from torch import Tensor, nn

from pipeline.engines import compiled_files
from pipeline.engines.compiled_files import CompiledFiles, code_digest
from pipeline.stages.matting.rvm import openvino
from pipeline.stages.matting.rvm.coefficients import Coefficients, shrink
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


def test_what_was_kept_answers_as_what_was_compiled_just_now(kept: Path) -> None:
    streams = by_openvino(kept)._streams
    part = Coefficients(make_network(), True).eval()
    pictures = [shrink(picture, 0.5) for picture in clip(2, 80, 112)]
    taken = streams.take(KEY)
    shapes = [tuple(state.shape) for state in taken.states]
    model = openvino._convert(part, pictures[0], shapes)
    compiled = ov.Core().compile_model(model, "CPU", streams._options)
    fresh = openvino._Stream(KEY, compiled.create_infer_request(), shapes)
    for picture in pictures:
        ours = [answer.clone() for answer in (*taken.step(picture), *taken.states)]
        theirs = [*fresh.step(picture), *fresh.states]
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


def test_only_so_many_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_files, "_KEPT", 3)
    kept = CompiledFiles(tmp_path, ["a"])
    for number in range(5):
        kept.keep(number, b"content")
    assert len(files(tmp_path)) == 3
    assert kept.read(4) == b"content"


def test_a_folder_that_cannot_be_written_costs_time_only(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    kept = CompiledFiles(tmp_path / "file" / "folder", ["a"])
    kept.keep("b", b"content")
    assert kept.read("b") is None
