"""The logs of a run as a person reads them: merged by time, whole lines only, until it ends."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from orchestrator.cli import main
from orchestrator.out.folder import OutFolder
from orchestrator.watch.logs import Logs, parse, show_logs
from pipeline.errors import SettingsError
from pipeline.text import printable

ID = "0123456789abcdef"


def line(second: float, event: str, level: str = "info", **fields: object) -> str:
    stamp = f"2026-01-02T03:04:{second:09.6f}Z"
    return json.dumps({**fields, "timestamp": stamp, "level": level, "event": event}) + "\n"


@pytest.fixture
def out(tmp_path: Path) -> OutFolder:
    out = OutFolder(tmp_path)
    out.create()
    names = [{"id": ID, "name": "talk_LR_180.mp4"}]
    out.run_file.write_text(yaml.safe_dump({"videos": names}))
    write(out, "orchestrator", line(1, "spawned", worker=0, life=1, pid=7), line(9, "ended"))
    write(out, "cpu0", line(2, "worker_ready", worker=0, life=1, device="cpu", seconds=1.5))
    write(out, "gpu1", line(3, "segment_done", task=f"{ID}/3", life=2, decoder="CPU: no NVDEC"))
    return out


def write(out: OutFolder, name: str, *lines: str) -> None:
    with (out.logs / f"{name}.jsonl").open("a") as file:
        file.writelines(lines)


def shown(out: OutFolder, **options: object) -> list[str]:
    stream = io.StringIO()
    show_logs(out.path, Console(file=stream, width=40), **options)  # type: ignore[arg-type]
    return [text[15:] for text in stream.getvalue().splitlines()]


def test_all_logs_are_merged_by_time(out: OutFolder) -> None:
    assert shown(out) == [
        "orchestrator info    spawned worker=0",
        "cpu0         info    worker_ready device=cpu seconds=1.5",
        'gpu1         info    segment_done task=talk_LR_180.mp4/3 life=2 decoder="CPU: no NVDEC"',
        "orchestrator info    ended",
    ]


def test_one_log_alone(out: OutFolder) -> None:
    assert [text.split()[0] for text in shown(out, gpu=1)] == ["gpu1"]
    assert [text.split()[0] for text in shown(out, cpu=0)] == ["cpu0"]
    with pytest.raises(SettingsError, match="no log of GPU 0") as caught:
        shown(out, gpu=0)
    assert caught.value.advice == "there are cpu0, gpu1, orchestrator"


def test_the_logs_of_one_machine_of_a_cluster(out: OutFolder) -> None:
    for name in ("pod-a1b2c3-gpu0", "pod-a1b2c3-gpu1", "pod-2-d4e5f6-gpu0"):
        write(out, name, line(5, "worker_ready"))
    first = [text.split()[0] for text in shown(out, node="pod")]
    assert first == ["pod-a1b2c3-gpu0", "pod-a1b2c3-gpu1"]
    assert [t.split()[0] for t in shown(out, node="pod-2", gpu=0)] == ["pod-2-d4e5f6-gpu0"]
    with pytest.raises(SettingsError, match="no log of GPU 3 on node pod"):
        shown(out, node="pod", gpu=3)


def test_where_no_run_was_started(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no run was started in"):
        show_logs(tmp_path, Console(file=io.StringIO()))


def test_the_last_lines_only(out: OutFolder) -> None:
    assert [text.split()[2] for text in shown(out, last=2)] == ["segment_done", "ended"]
    assert shown(out, last=0) == []


def test_a_traceback_comes_below_its_line_and_steers_no_terminal(out: OutFolder) -> None:
    write(out, "cpu0", line(8, "failed\x1b[2J", "error", exception="Traceback:\n  a\x1b[2J"))
    stream = io.StringIO()
    show_logs(out.path, Console(file=stream, width=40))
    lines = stream.getvalue().splitlines()
    place = next(n for n, text in enumerate(lines) if "failed" in text)
    assert lines[place].endswith("error   failed\ufffd[2J")
    assert lines[place + 1 : place + 3] == ["    Traceback:", "      a\ufffd[2J"]


def test_what_is_no_log_line_is_shown_as_it_is(out: OutFolder) -> None:
    write(out, "cpu0", "Segmentation fault\n", '{"event": 3}\n', "[]\n", "\n", "half a li")
    assert [text.split(maxsplit=1)[-1] for text in shown(out, cpu=0)][1:] == [
        "Segmentation fault",
        '{"event": 3}',
        "[]",
    ]


@given(st.text())
def test_nothing_that_lies_in_a_log_raises(raw: str) -> None:
    for text in (raw, json.dumps(raw), json.dumps({"timestamp": raw, "event": raw})):
        found = parse(text, "cpu0", parse(line(1, "x"), "cpu0", None, {}).at, {})  # type: ignore[arg-type]
        assert found.text == printable(found.text)


def test_what_libraries_printed_is_pointed_at(out: OutFolder) -> None:
    (out.logs / "cpu0.err").write_text("a warning\nanother\n")
    (out.logs / "gpu1.err").touch()
    stream = io.StringIO()
    show_logs(out.path, Console(file=stream, width=40))
    assert (
        stream.getvalue().splitlines()[-1].endswith("cpu0.err holds 2 lines that libraries printed")
    )
    assert "gpu1.err" not in stream.getvalue()


def test_following_ends_with_the_run_and_misses_nothing(out: OutFolder) -> None:
    stream = io.StringIO()

    def seen() -> list[str]:
        return [text[15:].split()[2] for text in stream.getvalue().splitlines()]

    holder = out.locked()
    steps: list[Callable[[], object]] = []

    def first() -> None:
        assert seen() == ["spawned", "worker_ready", "segment_done", "ended"]
        write(out, "cpu0", line(20, "task_started"), '{"timestamp": "2026')

    def second() -> None:
        assert seen()[4:] == ["task_started"]
        write(out, "cpu0", '-01-02T03:04:30Z", "level": "info", "event": "whole"}\n')
        write(out, "cpu1", line(31, "a_new_log"))

    def third() -> None:
        assert seen()[5:] == ["whole", "a_new_log"]
        write(out, "cpu1", line(40, "last_words"))
        holder.__exit__(None, None, None)

    steps = [first, second, third]
    holder.__enter__()
    console = Console(file=stream, width=40)
    show_logs(out.path, console, follow=True, wait=lambda seconds: steps.pop(0)())
    assert steps == []
    assert seen()[-1] == "last_words"


def test_without_a_run_following_ends_at_once(out: OutFolder) -> None:
    assert len(shown(out, follow=True, wait=pytest.fail)) == 4


def test_it_is_read_on_from_where_it_was_left(out: OutFolder) -> None:
    logs = Logs(out, "cpu0")
    assert len(list(logs.new_lines())) == 1
    assert list(logs.new_lines()) == []


def test_it_can_be_typed(out: OutFolder) -> None:
    typed = CliRunner().invoke(main, ["logs", str(out.path), "--gpu", "1", "-f"])
    assert typed.exit_code == 0
    assert "segment_done" in typed.stdout
    both = CliRunner().invoke(main, ["logs", str(out.path), "--gpu", "1", "--cpu", "0"])
    assert both.exit_code == 2
