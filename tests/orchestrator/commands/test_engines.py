"""`vrmatte engines`: what a person reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from orchestrator.cli import main
from orchestrator.exit_status import ALL_DONE, CANNOT, USAGE
from pipeline.engines.catalogue import ENGINES
from pipeline.engines.compiled_files import CompiledFiles
from pipeline.stages.matting.weights import compiled_folder
from tests.pipeline.engines.networks import a_key


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))


def typed(*words: str) -> Result:
    return CliRunner().invoke(main, ["engines", *words])


def test_list_names_every_engine_what_it_lacks_and_what_is_kept() -> None:
    files = CompiledFiles(compiled_folder())
    digest = files.keep(a_key(), b"x" * 2_000_000)
    files.refuse(replace(a_key(), precision="fp16"), "its answer is a single colour")
    said = typed("list")
    assert said.exit_code == ALL_DONE
    for row in ENGINES.values():
        [line] = [line for line in said.output.splitlines() if line.startswith(f"{row.name} ")]
        assert row.description in line
        assert ("is not installed" in line) == (row.lacking() is not None)
    assert f"{digest}  tensorrt, smoothing, 2x3x8x12, fp32, NVIDIA L4, driver 590.44: 2.0 MB" in (
        said.output
    )
    assert "refused: its answer is a single colour" in said.output
    assert typed("clear").output == "2 deleted\n"
    assert "0 kept" in typed("list").output


def test_what_cannot_be_built_here_is_one_line(tmp_path: Path) -> None:
    video = str(tmp_path / "a.mp4")
    Path(video).touch()
    on_cpu = typed("build", video, "--gpus", "none", "--model", "rvm")
    assert (on_cpu.exit_code, on_cpu.output.splitlines()[-2:]) == (
        USAGE,
        [
            "error: processing.engine: tensorrt runs networks on a GPU only",
            "set processing.engine: auto",
        ],
    )
    nothing = typed("build", video, "--engine", "openvino", "--gpus", "none")
    assert nothing.exit_code == USAGE
    assert "there is nothing to build" in nothing.output


def test_without_the_extra_it_says_how_to_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = replace(ENGINES["tensorrt"], packages=("no_such_tensorrt",), devices=frozenset({"cpu"}))
    monkeypatch.setitem(ENGINES, "tensorrt", row)
    (tmp_path / "a.mp4").touch()
    said = typed("build", str(tmp_path / "a.mp4"), "--gpus", "none", "--model", "rvm")
    assert said.exit_code == CANNOT
    assert said.output.splitlines()[-2:] == [
        "error: processing.engine: tensorrt needs the package no_such_tensorrt, which is not"
        " installed",
        "run `uv pip install 'vrmatte[tensorrt]'`, or set processing.engine: auto",
    ]
