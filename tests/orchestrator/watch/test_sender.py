"""Messages are posted as those who take them expect, and their failure is one line and no more."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from orchestrator.watch.notices import Notice, run_ended
from orchestrator.watch.sender import Sender
from tests.posts import taking_posts

DONE = run_ended(Path("/data/OUT ä"), 0, 61.5, {"done": 2}, None)
FAILED = run_ended(Path("/data/OUT"), 1, 61.5, {"done": 1, "failed": 1}, None)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def sent(
    *addresses: str, notices: tuple[Notice, ...] = (DONE,), deadline_s: float = 10
) -> list[str]:
    """The lines that were said while these were sent."""
    said: list[str] = []
    sender = Sender(addresses, said.append, deadline_s)
    sender.post(notices)
    sender.finish()
    return said


def test_json_is_posted_to_a_web_address() -> None:
    with taking_posts() as posts:
        assert sent(f"{posts.url}/hook?key=1", notices=(FAILED, DONE)) == []
    assert [path for path, _, _ in posts.taken] == ["/hook?key=1"] * 2
    _, headers, content = posts.taken[0]
    assert headers["Content-Type"] == "application/json"
    assert json.loads(content) == FAILED.as_json()


def test_a_text_with_headers_is_posted_to_ntfy() -> None:
    with taking_posts() as posts:
        assert sent(f"ntfy:{posts.url}/topic", notices=(DONE, FAILED)) == []
    (path, done, content), (_, failed, _) = posts.taken
    assert path == "/topic"
    assert content.decode() == "OUT ä: 2 done, in 1:02"
    assert (done["Title"], done["Priority"], done["Tags"]) == (
        *("vrmatte: done", "default", "white_check_mark"),
    )
    assert (failed["Priority"], failed["Tags"]) == ("high", "warning")


@pytest.mark.parametrize(
    ("answers", "posted", "why"),
    [
        ([503], 2, None),
        ([503, 500, 200], 2, "it answered 500 Internal Server Error"),
        ([404], 1, "it answered 404 Not Found"),
        ([302], 1, "it answered 302 Found"),
    ],
)
def test_one_more_attempt_where_it_may_help(
    answers: list[int], posted: int, why: str | None
) -> None:
    with taking_posts(answers) as posts:
        said = sent(f"{posts.url}/key")
    assert said == ([f"notify: 127.0.0.1 was sent no message: {why}"] if why else [])
    assert len(posts.taken) == posted


def test_a_server_that_does_not_answer_holds_nobody_up() -> None:
    with taking_posts(silent=True) as posts, taking_posts() as other:
        said = sent(f"{posts.url}/key", f"{other.url}/key", deadline_s=0.3)
    assert len(said) == 1
    assert "no answer" in said[0] or "timed out" in said[0]
    assert len(other.taken) == 1


def test_nobody_there_is_one_line() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        said = sent(f"http://127.0.0.1:{nobody.getsockname()[1]}/key")
    assert said == ["notify: 127.0.0.1 was sent no message: Connection refused"]


def test_without_an_address_nothing_happens() -> None:
    assert sent() == []
