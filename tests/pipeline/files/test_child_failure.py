"""Failures of child processes in words: how it ended, why, and for the logs the whole of it."""

from __future__ import annotations

import subprocess
import sys
import tempfile

import pytest

from pipeline.errors import EncodeError
from pipeline.files.child_failure import ChildFailure, how_it_ended, telling_line


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "exit status 0"),
        (70, "exit status 70"),
        (-11, "killed by SIGSEGV"),
        (-40, "killed by signal 40"),
        (None, "not ended"),
    ],
)
def test_how_it_ended(status: int | None, words: str) -> None:
    assert how_it_ended(status) == words


@pytest.mark.parametrize(
    ("stderr", "said"),
    [
        (b"", "ffmpeg failed (exit status 3)"),
        (b" \n\n", "ffmpeg failed (exit status 3)"),
        (b"a warning\nno room\n\n", "ffmpeg failed (exit status 3): no room"),
        (b"\x1b[31m\xff red", "ffmpeg failed (exit status 3): \ufffd[31m\ufffd red"),
    ],
)
def test_the_last_line_says_why(stderr: bytes, said: str) -> None:
    assert ChildFailure.of(["ffmpeg"], 3, stderr).sentence("ffmpeg failed") == said


def test_of_a_child_that_babbles_the_end_is_kept() -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('x' * 10**6 + '\\nthe end')"]
    with tempfile.TemporaryFile() as words:
        status = subprocess.run(command, stderr=words, check=False).returncode
        failure = ChildFailure.of(command, status, words)
    assert failure.sentence("it failed") == "it failed (exit status 1): the end"
    assert len(failure.messages) <= 4000


def test_the_logs_get_command_and_messages() -> None:
    failure = ChildFailure.of(["ffmpeg", "-i", "a b.mp4"], 1, b"one\ntwo")
    error = failure.noted(EncodeError(failure.sentence("ffmpeg failed")))
    assert error.__notes__ == ["command: ffmpeg -i 'a b.mp4'", "messages: one\ntwo"]


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (b"", ""),
        (b"working\nended\n", "ended"),
        (b"error: no GPU\nsee README\n", "error: no GPU"),
        (b"a.mp4: set aside: damaged\nreport: /out\n", "a.mp4: set aside: damaged"),
        (b"a.mp4: failed: damaged\nreport: /out\n", "a.mp4: failed: damaged"),
    ],
)
def test_the_line_that_says_why_a_command_of_ours_failed(said: bytes, line: str) -> None:
    assert telling_line(said) == line
