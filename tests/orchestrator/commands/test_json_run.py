"""`vrmatte run --json`: a whole run, told in lines for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest

import orchestrator.run.run
from orchestrator.run.request import Request, Surroundings
from orchestrator.watch.events import Kind
from tests.orchestrator.commands.test_cli import typed
from tests.orchestrator.run.test_run import Place, SupervisorDouble
from tests.orchestrator.run.test_run import place as place  # the fixture


def told(
    place: Place, monkeypatch: pytest.MonkeyPatch, supervise: SupervisorDouble
) -> list[dict[str, Any]]:
    lines: list[str] = []
    real = Surroundings

    def around(**neighbours: object) -> Surroundings:
        return real(**neighbours, write_json=lines.append)  # type: ignore[arg-type]

    monkeypatch.setattr("tests.orchestrator.run.test_run.Surroundings", around)
    place.run(supervise)
    return [json.loads(line) for line in lines]


def test_a_run_begins_goes_on_and_ends(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = told(place, monkeypatch, SupervisorDouble(fail=("a.mp4",)))
    events = [line["event"] for line in lines]
    assert events[0] == "run-started"
    assert events[-2:] == ["progress", "run-ended"]
    assert {"video-done", "video-failed"} <= set(events)
    first, last = lines[0], lines[-1]
    assert [video["video"] for video in first["videos"]] == ["a.mp4", "sub/b.mp4"]
    assert [(each["worker"], each["device"]) for each in first["workers"]] == [(0, "cpu")]
    assert first["workers"][0]["lanes"] >= 1
    assert last["exit_status"] == 1
    assert last["results"] == {"a.mp4": "failed", "sub/b.mp4": "done"}
    assert Path(last["report"]).is_file()


def test_stdout_holds_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(request: Request, around: Surroundings) -> int:
        around.answers.print("for people")
        around.progress.print("for people too")
        around.say_json("hello", {"there": 1, "not": None})
        return 0

    monkeypatch.setattr(orchestrator.run.run, "run", run)
    plain, lines = typed("run", "in", "-o", "out"), typed("run", "in", "-o", "out", "--json")
    assert plain.stdout == "for people\n"
    [line] = lines.stdout.splitlines()
    assert json.loads(line).items() >= {"schema": 1, "event": "hello", "there": 1}.items()
    assert lines.stderr.splitlines() == ["for people", "for people too"]


def test_a_price_needs_a_dry_run() -> None:
    refused = typed("run", "in", "-o", "out", "--price-per-hour", "0.5")
    assert refused.exit_code == 2
    assert "--price-per-hour is for --dry-run" in refused.stderr


def test_what_is_documented_is_what_there_is() -> None:
    text = (Path(__file__).parents[3] / "docs/events.md").read_text()
    for name in (*get_args(Kind), "run-started", "run-ended", "progress", "plan"):
        assert f"| `{name}` |" in text, name
