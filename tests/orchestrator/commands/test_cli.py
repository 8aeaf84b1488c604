"""The command line: what is typed arrives, and what is wrong gets one line and a status."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner, Result

import orchestrator.run.run
from orchestrator.cli import main
from orchestrator.commands.options import PROJECTIONS, QUALITIES
from orchestrator.run.request import Request, Surroundings
from orchestrator.settings.settings import Settings
from pipeline.contract import ProjectionName
from pipeline.contract.encoder_points import Quality
from pipeline.deliverables.formats import FORMATS
from pipeline.errors import (
    DiskError,
    EncodeError,
    InputError,
    MachineError,
    ResourceError,
    VrmatteError,
)
from tests.orchestrator.finished_out import finished_out


def typed(*words: str) -> Result:
    return CliRunner().invoke(main, words, prog_name="vrmatte")


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """The requests that reach `run`, which does nothing."""
    seen: list[Request] = []

    def run(request: Request, around: Surroundings) -> int:
        seen.append(request)
        return 0

    monkeypatch.setattr(orchestrator.run.run, "run", run)
    return seen


def test_every_option_arrives(requests: list[Request], tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("encoding:\n  vp9_crf: 20\nstreaming:\n  lanes: 9\n")
    line = (
        f"run in1 in2 -o out --config {file} --model depth --format webm --layout tb --gpus 1,0"
        " --cpu-workers 2 --start-frame 5 --max-frames 7 --every 3 --scale 0.5"
        " --segment-frames 50 --lanes 3"
        " --quality best --fresh --dry-run"
    )
    assert typed(*line.split()).exit_code == 0
    [request] = requests
    settings = request.settings
    assert request.inputs == (Path("in1"), Path("in2"))
    assert (request.out, request.fresh, request.dry_run) == (Path("out"), True, True)
    assert (settings.matting.model, settings.output.formats) == ("depth", ("webm",))
    assert (settings.input.layout, settings.workers.gpus) == ("tb", (1, 0))
    assert (settings.workers.cpu_workers, settings.processing.scale_factor) == (2, 0.5)
    assert (settings.input.start_frame, settings.input.max_frames) == (5, 7)
    assert settings.input.every == 3
    assert (settings.streaming.segment_frames, settings.streaming.lanes) == (50, 3)
    assert (settings.encoding.quality, settings.encoding.vp9_crf) == ("best", 20)


def test_who_the_subject_is_can_be_typed(requests: list[Request]) -> None:
    words = "run in -o out --model sam2+rvm --prompts said --dlc-csv a.csv --dlc-parts nose,ear"
    assert typed(*words.split(), "--dlc-likelihood", "0.9").exit_code == 0
    matting = requests[0].settings.matting
    assert (matting.model, matting.prompts, matting.dlc_csv) == ("sam2+rvm", "said", "a.csv")
    assert (matting.dlc_bodyparts, matting.dlc_likelihood) == (("nose", "ear"), 0.9)


def test_old_names_are_taken_with_a_note(requests: list[Request], tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("output: {scratch: /nvme}\n")
    result = typed("run", "in", "-o", "out", "--config", str(file))
    note = f"note: {file}, line 1: output.scratch is now named output.local_folder\n"
    assert (result.exit_code, result.stderr) == (0, note)
    assert requests.pop().settings.output.local_folder == "/nvme"
    result = typed("run", "in", "-o", "out", "--scratch", "/disk")
    assert result.stderr == "note: --scratch is now named --local-folder\n"
    assert requests.pop().settings.output.local_folder == "/disk"
    result = typed("run", "in", "-o", "out", "--local-folder", "/disk")
    assert (result.exit_code, result.stderr) == (0, "")
    assert requests.pop().settings.output.local_folder == "/disk"
    told = typed("run", "--help").stdout
    assert "--local-folder FOLDER" in told
    assert "--scratch" not in told


def test_every_quality_can_be_typed() -> None:
    assert tuple(QUALITIES) == get_args(Quality)


def test_without_options_the_defaults_hold(requests: list[Request]) -> None:
    assert typed("run", "in", "-o", "out").exit_code == 0
    assert requests[0].settings == Settings()
    assert not requests[0].fresh
    assert not requests[0].dry_run


@pytest.mark.parametrize(
    ("line", "message", "advice"),
    [
        ("rum in -o out", "No such command 'rum'. Did you mean 'run'?", "`vrmatte --help`"),
        (
            "run in -o out --scal 1",
            "'--scal'. (Did you mean one of: '--scale'",
            "`vrmatte run --help`",
        ),
        ("run in", "Missing option '-o' / '--out'", "`vrmatte run --help`"),
        ("run -o out", "Missing argument 'INPUT...'", "`vrmatte run --help`"),
        ("run in -o out --gpus some", "'some' is neither all, none nor a list like 0,1", "--help"),
        ("run in -o out --layout lr", "'lr' is not one of", "--help"),
        ("run in -o out --max-frames 0", "0 is not in the range x>=1", "--help"),
        ("run in -o out --scale 2", "--scale: processing.scale_factor = 2.0", "share of an eye"),
        ("run in -o out --model deph", "there is no model named 'deph'", "did you mean 'depth'?"),
        ("run in -o out --config none.yaml", "No such file", "config init"),
        ("run /none -o out", "cannot read the input /none", "check the path"),
        (
            "run in -o out --prompts none",
            "model auto follows no prompts",
            "models that follow prompts: sam2",
        ),
        ("run in -o out --model sam2 --dlc-csv none", "none cannot be read", "check the path"),
        ("run in -o out --model sam2 --prompts none", "none cannot be read", "check the path"),
        ("status /none", "no run was started in /none", "OUT"),
        ("status /etc/passwd", "no run was started in /etc/passwd", "OUT"),
        ("report /etc/passwd", "no run was started in /etc/passwd", "OUT"),
        ("config check /none", "cannot read the settings file /none", "config init"),
        ("config init /none/x.yaml", "cannot write /none/x.yaml", "check the path"),
    ],
)
def test_wrong_words_get_one_line_and_status_2(line: str, message: str, advice: str) -> None:
    result = typed(*line.split())
    assert result.exit_code == 2
    assert result.stdout == ""
    assert message in result.stderr
    assert advice in result.stderr
    assert len(result.stderr.splitlines()) == 2
    assert result.stderr.startswith("error: ")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MachineError("no FFmpeg", "install it"), 3),
        (ResourceError("out of memory", "use fewer workers"), 3),
        (DiskError("disk full", "make room"), 130),
        (InputError("bad\x1b[31m file", "x"), 2),
        (EncodeError("ffmpeg failed", "x"), 1),
        (ValueError("what nobody\nforesaw"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_errors_end_with_their_status_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int
) -> None:
    def run(request: Request, around: Surroundings) -> int:
        raise error

    monkeypatch.delenv("VRMATTE_TRACEBACK", raising=False)
    monkeypatch.setattr(orchestrator.run.run, "run", run)
    result = typed("run", "in", "-o", "out")
    assert result.exit_code == status
    lines = [line for line in result.stderr.splitlines() if line]  # click ends the line of a ^C
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)
    if isinstance(error, VrmatteError):
        assert lines[1] == error.advice
    if isinstance(error, ValueError):
        assert lines[0] == "error: ValueError: what nobody"


@pytest.mark.parametrize("group", [(), ("config",), ("models",)])
def test_a_group_alone_says_what_there_is(group: tuple[str, ...]) -> None:
    result = typed(*group)
    assert (result.exit_code, result.stdout) == (2, "")
    lines = result.stderr.splitlines()
    assert lines[0].startswith(" ".join(("Usage: vrmatte", *group)))
    assert "Commands:" in lines


def test_streams_that_are_closed_do_no_harm() -> None:
    command = f"'{sys.executable}' -P -m orchestrator.cli models list 0<&- 2>&-"
    done = subprocess.run(["sh", "-c", command], stdout=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, "chroma" in done.stdout) == (0, True)
    done = subprocess.run(["sh", "-c", f"{command} >&-"], text=True, check=False)
    assert done.returncode == 0


def test_an_empty_path_is_not_this_folder() -> None:
    """As when a script's variable is not set."""
    for words in (("run", "in", "-o", ""), ("run", "", "-o", "out"), ("status", "")):
        result = typed(*words)
        assert result.exit_code == 2
        assert "the path is empty" in result.stderr


def test_after_ctrl_c_only_what_goes_on_is_said_to_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def stopped(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("orchestrator.demo.demo.make_demo", stopped)
    monkeypatch.setattr("orchestrator.watch.logs.show_logs", stopped)
    for words, said in ((("demo", "clips"), ["error: stopped"]), (("logs", "out", "-f"), [])):
        result = typed(*words)
        assert result.exit_code == 130
        assert [line for line in result.stderr.splitlines() if line] == said


def test_an_unforeseen_error_says_where_it_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(request: Request, around: Surroundings) -> int:
        error = ZeroDivisionError("division by zero")
        error.add_note("the details are in /out/log")
        raise error

    monkeypatch.delenv("VRMATTE_TRACEBACK", raising=False)
    monkeypatch.setattr(orchestrator.run.run, "run", run)
    assert typed("run", "in", "-o", "out").stderr.splitlines()[1] == "the details are in /out/log"


def test_config_init_and_check(tmp_path: Path) -> None:
    path = str(tmp_path / "settings.yaml")
    assert typed("config", "init", path).exit_code == 0
    assert typed("config", "check", path).stdout == f"{path} is right\n"
    again = typed("config", "init", path)
    assert again.exit_code == 2
    assert "is there already" in again.stderr
    text = Path(path).read_text().replace("  model: auto", "  model: rvn")
    Path(path).write_text(text)
    line = text[: text.index("model: rvn")].count("\n") + 1
    wrong = typed("config", "check", path)
    assert wrong.exit_code == 2
    assert wrong.stderr.splitlines() == [
        f"error: {path}, line {line}: there is no model named 'rvn'",
        "did you mean 'rvm'?",
    ]


def test_a_settings_file_that_cannot_be_whole_is_not_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("orchestrator.settings.explained.default_text", full)
    result = typed("config", "init", str(tmp_path / "s.yaml"))
    assert (result.exit_code, "No space left" in result.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_the_projections_that_can_be_typed_are_those_that_are_known() -> None:
    assert sorted(PROJECTIONS) == sorted([*get_args(ProjectionName), "auto"])


def test_a_format_that_does_not_exist_is_answered_with_the_nearest(requests: list[Request]) -> None:
    result = typed("run", "in", "-o", "out", "--format", "tiff", "--format", "greenscren")
    said = "--format: there is no format named 'greenscren'\ndid you mean 'greenscreen'?"
    assert (result.exit_code, result.stderr.strip()) == (2, f"error: {said}")
    assert requests == []


@pytest.mark.parametrize("words", [["run", "--help"], ["bench", "--help"]])
def test_help_and_settings_list_every_format(words: list[str], tmp_path: Path) -> None:
    shown = "".join(typed(*words).stdout.split())
    assert f"[{'|'.join(FORMATS.names())}]" in shown
    typed("config", "init", str(tmp_path / "s.yaml"))
    explained = " ".join((tmp_path / "s.yaml").read_text().replace("#", " ").split())
    assert all(f"{row.name} ({row.description})" in explained for row in FORMATS)


def test_models_list_names_them_all() -> None:
    models, larger = typed("models", "list").stdout.split("\n\n")
    names = [line.split()[0] for line in models.splitlines()]
    assert names[:8] == ["auto", "none", "rvm", "sam2", "sam2+rvm", "chroma", "plate", "depth"]
    assert [line.split()[0] for line in larger.splitlines()[1:]] == ["span", "compact", "lanczos"]


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["--version"]])
def test_help_answers_without_loading_anything_heavy(words: list[str]) -> None:
    program = (
        "import sys\n"
        "from orchestrator.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: status = end.code\n"
        "heavy = {'torch', 'pydantic', 'rich', 'numpy', 'av', 'yaml'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else status)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_it_is_a_module_too() -> None:
    command = [sys.executable, "-m", "orchestrator.cli", "run", "/none", "-o", "/none/out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot read the input /none")


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},  # as Latin-1, and less
        {"PYTHONIOENCODING": "ascii:strict"},
    ],
)
def test_names_are_shown_whatever_the_locale(tmp_path: Path, environment: dict[str, str]) -> None:
    """The page is UTF-8; what the terminal cannot show becomes question marks."""
    out = finished_out(tmp_path / "Тест é", 1)
    name = "Танец é.mp4"
    record = out.run_file.read_text(encoding="utf-8").replace("talk00.mp4", name)
    out.run_file.write_text(record, encoding="utf-8")
    for words in (("status", str(out.path)), ("report", "--no-pictures", str(out.path))):
        done = subprocess.run(
            [sys.executable, "-m", "orchestrator.cli", *words],
            env=os.environ | environment,
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        utf8 = "PYTHONUTF8" in environment
        assert utf8 or b"????" in done.stdout
    assert name in out.page.read_text(encoding="utf-8")
