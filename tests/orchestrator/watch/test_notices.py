"""What people who are elsewhere are told: how a run ended, the first failures of a long one, and
nothing that could be secret."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.fleet.jobs import SetAside
from orchestrator.watch.events import RunEvent
from orchestrator.watch.notices import (
    HOLD_S,
    MOST_VIDEOS,
    FailedVideos,
    Notice,
    run_broke,
    run_ended,
)
from pipeline import errors
from pipeline.errors import ErrorRecord
from tests.clips import X264, ClipSpec
from tests.orchestrator.watch.test_standing import standing
from tests.posts import taking_posts
from tests.runs import HereRun
from tests.shared_runs import VideosOf

OUT = Path("/home/anna/secret/OUT")
SECRET = ErrorRecord("decode", "cannot decode /home/anna/secret/talk.mp4", "move /home/anna", "/x")


@pytest.mark.parametrize(
    ("status", "results", "reason", "title", "text"),
    [
        (0, {"done": 2, "done earlier": 1}, None, "done", "2 done, 1 done earlier, in 1:02:03"),
        (1, {"done": 1, "doubtful": 2}, None, "ended with problems", "1 done, 2 doubtful, in 1:02"),
        (0, {}, None, "done", "no videos, in"),
        (130, {"not finished": 1}, None, "stopped", "stopped after 1:02:03: it was asked to stop;"),
        (130, {"done": 1}, ErrorRecord("disk", "/x"), "stopped", "the disk is full or takes no"),
    ],
)
def test_how_a_run_ended(
    status: int, results: dict[str, int], reason: ErrorRecord | None, title: str, text: str
) -> None:
    notice = run_ended(OUT, status, 3723.4, results, reason)
    assert notice.title == f"vrmatte: {title}"
    assert notice.text.startswith("OUT: ")
    assert text in notice.text
    told = notice.as_json()
    assert (told["event"], told["out"], told["exit_status"]) == ("run-ended", "OUT", status)
    assert (told["seconds"], told["results"]) == (3723.4, results)
    assert told.get("reason") == (reason.kind if reason else None)
    assert notice.urgent == (status != 0)


def test_every_kind_of_error_has_words() -> None:
    kinds = {
        kind.kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.VrmatteError)
    }
    for kind in kinds - {"error", "stopped"}:
        assert "unforeseen" not in run_broke(OUT, 1, ErrorRecord(kind, "")).text
    assert "unforeseen" in run_broke(OUT, 1, ErrorRecord("unforeseen", "KeyError")).text


class Told:
    """`FailedVideos` of a run, and what it posted."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self.asides: list[SetAside] = []
        self._failed = FailedVideos(OUT, self.notices.extend, lambda: tuple(self.asides))

    def at(self, elapsed_s: float, failed: Sequence[str] = (), phase: Any = "working") -> None:
        events = [
            RunEvent(event="video-failed", text="", video=name, error=SECRET) for name in failed
        ]
        self._failed.show(replace(standing(), elapsed_s=elapsed_s, phase=phase), events)

    @property
    def texts(self) -> list[str]:
        return [notice.text for notice in self.notices]


def test_a_video_that_fails_is_told_of_when_the_run_goes_on() -> None:
    told = Told()
    told.at(5, ["a/talk.mp4"])
    told.at(4 + HOLD_S)
    assert told.notices == []
    told.at(5 + HOLD_S)
    told.at(9 + HOLD_S)
    assert told.texts == ["OUT: talk.mp4: failed: it cannot be decoded"]
    assert told.notices[0].as_json().items() >= {
        ("event", "video-failed"),
        ("video", "talk.mp4"),
        ("result", "failed"),
        ("reason", "decode"),
        ("out", "OUT"),
    }


def test_the_message_at_the_end_is_enough_for_the_last_ones() -> None:
    told = Told()
    told.at(5, ["a.mp4"])
    told.at(5 + HOLD_S, phase="ended")
    assert told.notices == []


def test_a_file_that_is_set_aside_is_told_of_too() -> None:
    told = Told()
    told.asides.append(SetAside("a/b.mp4", "/home/anna/b.mp4", ErrorRecord("input", "bad")))
    told.at(0)
    told.at(HOLD_S)
    told.at(2 * HOLD_S)
    assert told.texts == ["OUT: b.mp4: set aside: the file cannot be used"]


@pytest.mark.parametrize("at_once", [True, False])
def test_only_so_many_have_messages(at_once: bool) -> None:
    told = Told()
    names = [f"{number}.mp4" for number in range(MOST_VIDEOS + 7)]
    for group in [names] if at_once else [[name] for name in names]:
        told.at(1, group)
    for second in range(10):
        told.at(1 + HOLD_S + second)
    told.at(500, ["late.mp4"])
    told.at(500 + HOLD_S)
    assert len(told.notices) == MOST_VIDEOS + 1
    assert told.texts[-1].startswith("OUT: 7 more videos failed so far")
    assert told.notices[-1].as_json()["count"] == 7


def test_paths_and_messages_of_errors_are_not_told() -> None:
    told = Told()
    told.at(0, ["secret/talk.mp4"])
    told.at(HOLD_S)
    notices = [*told.notices, run_broke(OUT, 3, SECRET), run_ended(OUT, 130, 1.0, {}, SECRET)]
    assert len(notices) == 3
    for notice in notices:
        said = notice.title + notice.text + json.dumps(notice.as_json())
        assert "secret" not in said
        assert "anna" not in said
        assert "/" not in said


def test_a_run_sends_its_results(
    videos_of: VideosOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    videos = tmp_path / "in"
    clips = videos_of([ClipSpec("talk_LR_180.mp4", X264, num_frames=8, eye=(64, 64))])
    videos.mkdir()
    (videos / "talk_LR_180.mp4").symlink_to(clips / "talk_LR_180.mp4")
    (videos / "empty.mp4").touch()
    settings: dict[str, dict[str, object]] = {
        "matting": {"model": "chroma"},
        "workers": {"gpus": "none"},
        "input": {"follow_links": True},
    }
    with taking_posts() as posts:
        addresses = [f"{posts.url}/hook", f"ntfy:{posts.url}/topic", "ntfy:http://127.0.0.1:1/t"]
        run = HereRun(videos, tmp_path / "out", settings, threads=True, notify=addresses)
        assert run.run() == 1
    taken = {path: content for path, _, content in posts.taken}
    told = json.loads(taken["/hook"])
    assert told["results"] == {"done": 1, "set aside": 1}
    assert (told["event"], told["out"], told["exit_status"]) == ("run-ended", "out", 1)
    assert taken["/topic"].decode() == told["text"]
    trouble = "notify: 127.0.0.1 was sent no message: Connection refused"
    assert run.said.getvalue().count(trouble) == 1
    log = (tmp_path / "out/.vrmatte/logs/orchestrator.jsonl").read_text()
    assert log.count('"not_notified"') == 1
    assert "/topic" not in (tmp_path / "out/.vrmatte/run.yaml").read_text()
