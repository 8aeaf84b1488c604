"""`vrmatte config check` tells all mistakes of a settings file, in the order of their lines."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestrator.cli import main
from orchestrator.commands.config import MOST_MISTAKES
from orchestrator.plan.mistakes import mistakes_in

MANY = """\
model: rvm
streaming:
  lanes: 0
  segment_frame: 9
nmae: x
output:
  formats: [webm, gif, webp]
matting:
  rvm_variant: huge
  model: deph
  plate_image: /none/empty.png
workers: 3
overrides:
  - match: "*a*"
    lanes: 2
    scale: 7
    modle: rvm
  - mathc: "*b*"
    model: rvm
  - match: "*c*"
    matting: {sam2_checkpoint: /none/sam2.pt, sam2_sed: depth}
  - match: "*d*"
    preset: quests
  - match: "*e*"
    start: "0:10"
    start_frame: 3
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def told(folder: Path, text: str) -> list[str]:
    path = written(folder, text)
    mistakes = [str(error) for error in mistakes_in(path, lambda line: None)]
    assert not any("\n" in mistake for mistake in mistakes)
    return [mistake.replace(f"{path}, line ", "") for mistake in mistakes]


def test_each_mistake_has_its_line_and_they_are_in_order(tmp_path: Path) -> None:
    found = told(tmp_path, MANY)
    expected = [
        (1, "'model' belongs to the group 'matting' (write matting: {model: rvm}"),
        (3, "streaming.lanes = 0: it should be greater than or equal to 1"),
        (4, "no key 'streaming.segment_frame' (did you mean 'streaming.segment_frames'?)"),
        (5, "no group 'nmae'"),
        (7, "no format named 'gif'"),
        (7, "no format named 'webp'"),
        (9, "rvm_variant = 'huge'"),
        (10, "no model named 'deph' (did you mean 'depth'?)"),
        (11, "plate_image /none/empty.png cannot be read: No such file"),
        (12, "workers must hold"),
        (15, "streaming.lanes is the same for all videos"),
        (16, "scale_factor = 7"),
        (17, "no key 'modle' (did you mean 'model'?)"),
        (18, "no key 'mathc' (did you mean 'match'?)"),
        (21, "sam2_checkpoint /none/sam2.pt cannot be read"),
        (21, "no key 'matting.sam2_sed' (did you mean 'matting.sam2_seed'?)"),
        (23, "no preset 'quests' (did you mean 'quest'?)"),
        (25, "input.start and input.start_frame are both given"),
    ]
    assert [int(mistake.partition(":")[0]) for mistake in found] == [line for line, _ in expected]
    for line, words in expected:
        assert any(m.startswith(f"{line}: ") and words in m for m in found), words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("matting: {model: chroma, prompts: here}\n", "follows no prompts"),
        ("lanes: [\n", "not YAML"),
        ("output: {formats: [webm]}\noutput: {formats: [gif]}\n", "already given in line 1"),
    ],
)
def test_what_is_of_no_line_and_what_ends_the_reading_is_told_too(
    tmp_path: Path, text: str, words: str
) -> None:
    assert any(words in mistake for mistake in told(tmp_path, text))


def test_a_contradiction_is_told_beside_the_mistakes(tmp_path: Path) -> None:
    found = told(tmp_path, "matting: {model: chroma, dlc_csv: /none.csv}\nstreaming: {lane: 1}\n")
    assert [mistake.partition(":")[0] for mistake in found[:2]] == ["1", "2"]
    assert "the model chroma follows no prompts" in found[2]


@pytest.mark.parametrize(
    "key", ["rvm_weights", "sam2_checkpoint", "plate_image", "prompts", "dlc_csv"]
)
def test_a_file_that_is_named_must_be_there(tmp_path: Path, key: str) -> None:
    text = f"matting:\n  model: sam2\n  {key}: {tmp_path}/named\n"
    [mistake] = told(tmp_path, text)
    assert mistake.startswith(f"3: matting.{key} {tmp_path}/named cannot be read: No such file")
    (tmp_path / "named").touch()
    assert told(tmp_path, text) == []


def test_an_address_is_no_file(tmp_path: Path) -> None:
    assert told(tmp_path, "matting: {rvm_weights: 'https://example.invalid/rvm.pth'}\n") == []


def test_an_override_is_not_blamed_for_what_the_file_says(tmp_path: Path) -> None:
    text = 'matting:\n  model: deph\noverrides:\n  - match: "*"\n    scale: 0.5\n'
    assert len(told(tmp_path, text)) == 1


def test_the_command_ends_with_2_and_bounds_what_it_shows(tmp_path: Path) -> None:
    path = written(tmp_path, MANY)
    result = CliRunner().invoke(main, ["config", "check", str(path)])
    assert (result.exit_code, result.stdout) == (2, "")
    *lines, last = result.stderr.splitlines()
    assert all(line.startswith(f"error: {path}, line ") for line in lines)
    assert last == f"{len(lines)} mistakes in {path}"
    path.write_text("".join(f"key{n}: 1\n" for n in range(1000)))
    *lines, last = CliRunner().invoke(main, ["config", "check", str(path)]).stderr.splitlines()
    assert len(lines) == MOST_MISTAKES
    assert last == f"1000 mistakes in {path}, {1000 - MOST_MISTAKES} of them not shown"
    path.write_text("streaming: {lanes: 2}\n")
    result = CliRunner().invoke(main, ["config", "check", str(path)])
    assert (result.exit_code, result.stdout) == (0, f"{path} is right\n")
