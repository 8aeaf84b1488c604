"""Every command line in the README, the guide and the pages for users does what it stands for, and
every settings file in them is right.

Lines of vrmatte are typed in a folder where what they name is there. What they begin is the real
thing where that takes seconds; a run, a trial of the machine, a fetch and a server are met by a
double, which has its own tests. Lines of other programs are read by the shell, and stand in a list.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner

import orchestrator.gates.record
import orchestrator.run.on_done
import orchestrator.run.run
import orchestrator.serve.serve
from orchestrator.cli import main
from orchestrator.commands.doctor import doctor
from orchestrator.commands.engines import build_engines, clear_engines
from orchestrator.commands.gates import gates
from orchestrator.commands.models import fetch_models
from orchestrator.fleet.worker_life import life_table
from orchestrator.run.request import Request, Surroundings
from orchestrator.serve.addresses import parse_address
from orchestrator.settings.settings import load_settings
from pipeline.prompts.prompts import require_prompts_file
from tests.clips import X264, ClipSpec
from tests.runs import HereRun

ROOT = Path(__file__).parents[1]
PAGES = ("docs/options.md", "docs/formats.md", "docs/which-model.md", "docs/prompts.md")
DOCUMENTS = ("README.md", "DEPLOYMENT_GUIDE.md", *PAGES)

#: Programs of others in the documents; what they do is not ours to test.
OTHERS = {
    "apt-get",
    "git",
    "make",
    "source",
    "export",
    "tmux",
    "rsync",
    "docker",
    "deploy/start.sh",
    "deploy/gpu_check.sh",
    "ray",
    "ip",
}

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`((?:\.venv/bin/)?vrmatte [^`]+)`")


@dataclass(frozen=True)
class Line:
    document: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}: {self.text}"

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text, comments=True)


def blocks(document: str, language: str) -> Iterator[str]:
    for found, text in _BLOCK.findall((ROOT / document).read_text()):
        if found == language:
            yield text


def lines() -> Iterator[Line]:
    """The lines of all blocks that begin with a command."""
    for document in DOCUMENTS:
        for block in blocks(document, ""):
            if block.startswith("Result\n"):  # what a run printed
                continue
            for text in block.splitlines():
                if text.strip() and not text.lstrip().startswith("#"):
                    yield Line(document, text)


OURS = [line for line in lines() if line.words[0] == "vrmatte"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, clip: Any) -> Path:
    """A folder with all that the documents name: videos, and an OUT of a run that has ended."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "workspace").mkdir()
    (folder / "VIDEOS").mkdir()
    tiny = ClipSpec("talk_LR_180.mp4", X264, num_frames=8, eye=(64, 64))
    shutil.copy2(clip(tiny), folder / "VIDEOS" / tiny.name)
    shutil.copytree(folder / "VIDEOS", folder / "workspace/videos")
    settings: dict[str, dict[str, object]] = {
        "matting": {"model": "chroma"},
        "workers": {"gpus": "none"},
    }
    assert HereRun(folder / "VIDEOS", folder / "OUT", settings, threads=True).run() == 0
    logs = folder / "OUT/.vrmatte/logs"
    shutil.copy2(logs / "orchestrator.jsonl", logs / "gpu0.jsonl")
    shutil.copytree(folder / "OUT", folder / "workspace/out")
    return folder


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the doubles were asked for."""
    seen: list[Any] = []

    def run(request: Request, around: Surroundings) -> int:
        seen.append(request)
        return 0

    monkeypatch.setattr(orchestrator.run.run, "run", run)
    monkeypatch.setattr(
        orchestrator.serve.serve,
        "serve_report",
        lambda out, address, *consoles, **options: seen.append(parse_address(address)),
    )
    monkeypatch.setattr(orchestrator.run.on_done, "tell", lambda *told: None)
    monkeypatch.setattr(orchestrator.gates.record, "require_gates", lambda *told: None)
    for command in (doctor, gates, fetch_models, build_engines, clear_engines):
        monkeypatch.setattr(command, "callback", lambda **options: seen.append(options))
    return seen


def test_the_documents_hold_command_lines() -> None:
    assert len(OURS) >= 15
    assert {line.document for line in OURS} >= {"README.md", "DEPLOYMENT_GUIDE.md"}


@pytest.mark.parametrize("line", OURS, ids=str)
def test_a_command_line_does_what_it_stands_for(
    line: Line, world: Path, asked: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world)
    words = [word.replace("/workspace", str(world / "workspace")) for word in line.words[1:]]
    if ">" in words:
        words = words[: words.index(">")]
    if words[0] == "config":  # a file that one line writes and another one reads
        monkeypatch.chdir(tmp_path)
        if words[1] == "check":
            Path(words[2]).write_text("matting:\n  model: chroma\n")
    if words[0] == "preview":
        words += ["--gpus", "none"]
        if "--compare" in words:
            words[words.index("--compare") + 1] = "chroma"  # it needs no network
        else:
            words += ["--model", "chroma"]
    done = CliRunner().invoke(main, words, prog_name="vrmatte")
    assert done.exit_code == 0, done.output
    if words[0] == "run":
        (request,) = asked
        assert all(path.exists() for path in request.inputs)


@pytest.mark.parametrize(
    "line",
    [line for line in lines() if line.words[0] != "vrmatte"],
    ids=str,
)
def test_lines_of_other_programs_are_known_and_read_by_the_shell(line: Line) -> None:
    assert line.words[0] in OTHERS
    assert subprocess.run(["bash", "-n", "-c", line.text], check=False).returncode == 0
    if line.words[0] == "deploy/start.sh":
        assert (ROOT / "deploy/start.sh").exists()
    if line.words[0] == "make":
        targets = (ROOT / "Makefile").read_text()
        assert f"\n{line.words[1]}:" in targets


def spans() -> Iterator[Line]:
    """Command lines within a sentence or a table."""
    for document in DOCUMENTS:
        for text in _SPAN.findall((ROOT / document).read_text()):
            yield Line(document, text.replace("\\|", "|"))


@pytest.mark.parametrize("line", list(spans()), ids=str)
def test_what_a_sentence_names_exists(line: Line) -> None:
    command: click.Command = main
    for word in line.words[1:]:
        if isinstance(command, click.Group) and not word.startswith("-"):
            found = command.get_command(click.Context(command), word)
            assert found is not None, f"there is no command {word}"
            command = found
        elif word.startswith("-"):
            options = {name for option in command.params for name in option.opts}
            assert word in options | {"--help", "--version"}, f"there is no option {word}"


@pytest.mark.parametrize(
    "text", [text for document in DOCUMENTS for text in blocks(document, "yaml")]
)
def test_settings_files_are_right(text: str, tmp_path: Path) -> None:
    if "objects" in yaml.safe_load(text):
        path = tmp_path / "prompts.yaml"
        path.write_text(text)
        require_prompts_file(path)
        return
    text = re.sub(r"/data/\S+", str(tmp_path), text)
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    load_settings(path, {})


def test_the_architecture_shows_the_table_that_workers_obey() -> None:
    assert life_table() in (ROOT / "ARCHITECTURE.md").read_text()


NAMING_FILES = ("ARCHITECTURE.md", "CONTRIBUTING.md", "docs/reliability.md", *DOCUMENTS)
#: A file may be named below one of these, as by `source/decode.py`.
PACKAGES = ("pipeline", "orchestrator", "pipeline/stages/matting")


@pytest.mark.parametrize("document", NAMING_FILES)
def test_files_that_a_document_names_are_there(document: str) -> None:
    """By their paths; of a decision or a benchmark its number is enough."""
    text = (ROOT / document).read_text()
    named = re.findall(
        r"(?<![\w/.-])((?:pipeline|workers|orchestrator|tests|docs|deploy|benchmarks)/[\w/.-]+\w)",
        text,
    )
    assert named or document in DOCUMENTS
    near = {ROOT, (ROOT / document).parent}
    missing = [
        name
        for name in named
        if "NAME" not in name and not any(path for p in near for path in p.glob(f"{name}*"))
    ]
    assert missing == []
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert ((ROOT / document).parent / link).exists(), link
    for short in re.findall(r"`([\w-]+(?:/[\w-]+)+\.py)`", text):
        places = (ROOT, *(ROOT / package for package in PACKAGES))
        assert "NAME" in short or any((place / short).exists() for place in places), short


def test_scripts_hold_no_python_which_no_checker_reads() -> None:
    """They call modules of ours instead."""
    imports = re.compile(r"^ *(?:from [\w.]+ )?import [\w, ]+$", re.M)
    found = {
        path.name: imports.findall(path.read_text())
        for path in sorted((ROOT / "deploy").glob("*.sh"))
    }
    assert found
    assert {name: lines for name, lines in found.items() if lines} == {}
