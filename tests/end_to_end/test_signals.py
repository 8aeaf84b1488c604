"""Ctrl-C and its relatives, and the terminal that is closed, with the real command line."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import yaml

from tests.clips import X264, ClipSpec
from tests.runs import CommandRun, command_line, files_left, outputs
from tests.shared_runs import UndisturbedRun, VideosOf

pytestmark = pytest.mark.slow

#: Long enough not to be done before the signal comes.
LONG = ClipSpec("long_LR.mp4", X264, num_frames=160, eye=(128, 96))
SETTINGS = (
    "matting: {model: chroma}\nstereo: {mode: independent}\n"
    "streaming: {segment_frames: 40, lanes: 1}\n"
)
#: For a run that no signal has to meet.
SHORT = ClipSpec("short_LR.mp4", X264, num_frames=8, eye=(128, 96))
#: One segment that cannot be finished within any grace.
ONE_SEGMENT = "matting: {model: chroma}\nstreaming: {segment_frames: 600, lanes: 1}\n"

#: The program is the leader of a session whose terminal is its standard input.
IN_A_SESSION = ("setsid", "--ctty")

STOPPED = 130
GOES_ON = "the same command resumes"


@pytest.fixture(scope="module")
def videos(videos_of: VideosOf) -> Path:
    return videos_of([LONG])


@pytest.fixture(scope="module")
def undisturbed(undisturbed_run: UndisturbedRun) -> dict[str, str]:
    return undisturbed_run([LONG], yaml.safe_load(SETTINGS)).outputs


def wait_for(words: str, run: CommandRun) -> None:
    """Until the run has said `words`."""
    while words not in run.said():
        assert run.goes_on(0.02), f"it ended before it said {words!r}: {run.said()}"


def segments(out: Path) -> int:
    """How many segments the journal says are done."""
    lines = (out / ".vrmatte/journal.jsonl").read_text().splitlines()
    return sum(json.loads(line)["entry"]["kind"] == "segment" for line in lines)


def check_the_rest(run: CommandRun, hashes: dict[str, str]) -> None:
    again = run.again_here()
    assert again.run() == 0, again.said.getvalue()
    assert outputs(run.out) == hashes
    assert files_left(run.out) == set()
    assert list((run.out / ".vrmatte/work").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_lets_the_work_in_hand_finish(
    number: signal.Signals, videos: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run = CommandRun(videos, out, SETTINGS)
    wait_for("1 of 4 segments done", run)
    before = segments(out)
    run.process.send_signal(number)
    assert run.process.wait() == STOPPED, run.said()
    assert GOES_ON in run.said()
    assert "Traceback" not in run.said()
    assert run.left_behind() == []
    assert before < segments(out) < 4  # the one in hand was finished, and no other begun
    if number == signal.SIGINT:  # the other leaves the same
        check_the_rest(run, undisturbed)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_file_that_takes_long_to_read_does_not_hold_up_a_stop(
    number: signal.Signals, videos: Path, tmp_path: Path
) -> None:
    run = CommandRun(videos, tmp_path / "out", SETTINGS)
    probes: list[psutil.Process] = []
    while not probes:
        assert run.goes_on(0.01), run.said()
        probes = [p for p in run.family() if " -m pipeline.source.probe_server" in command_line(p)]
        probes = [p for p in probes if " -c " not in command_line(p)]  # it is underway
    probes[0].suspend()
    run.process.send_signal(number)
    assert run.process.wait(30) == STOPPED  # its own deadline is a minute
    assert GOES_ON in run.said()
    assert "Traceback" not in run.said()
    assert run.left_behind() == []


def test_the_second_signal_ends_at_once(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = CommandRun(videos, out, ONE_SEGMENT)
    wait_for("started, 160 frames", run)
    run.process.send_signal(signal.SIGINT)
    wait_for("stopping", run)
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait() == STOPPED, run.said()
    assert GOES_ON in run.said()
    assert "Traceback" not in run.said()
    assert run.left_behind() == []
    assert segments(out) == 0, "it finished the segment first"


def test_without_grace_the_first_signal_ends_at_once(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = CommandRun(videos, out, ONE_SEGMENT, ("--grace", "0"))
    wait_for("started, 160 frames", run)
    run.process.send_signal(signal.SIGTERM)
    assert run.process.wait() == STOPPED, run.said()
    assert GOES_ON in run.said()
    assert run.left_behind() == []
    assert segments(out) == 0, "it finished the segment first"


@contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    """A terminal: what the person holds, and what programs get."""
    ours, theirs = pty.openpty()
    ends = [ours, theirs]
    try:
        yield ours, theirs
    finally:
        for end in ends:
            with suppress(OSError):  # a test closes ours
                os.close(end)


def read_until(words: str, ours: int, run: CommandRun) -> str:
    """What the terminal shows until it has shown `words`."""
    shown = ""
    while words not in shown:
        assert run.goes_on(0), f"it ended before it showed {words!r}: {shown}"
        if select.select([ours], [], [], 0.1)[0]:
            shown += os.read(ours, 1 << 16).decode(errors="replace")
    return shown


def test_when_its_terminal_is_closed_it_drains(
    videos: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with terminal() as (ours, theirs):
        run = CommandRun(videos, out, SETTINGS, prefix=IN_A_SESSION, terminal=theirs)
        os.close(theirs)
        read_until("1 of 4", ours, run)
        os.close(ours)  # now every write of the run fails, and it gets SIGHUP
        assert run.process.wait() == STOPPED
    assert run.left_behind() == []
    assert "run_failed" not in (out / ".vrmatte/logs/orchestrator.jsonl").read_text()
    assert 0 < segments(out) < 4
    assert json.loads((out / "report.json").read_text())["exit_status"] == STOPPED
    check_the_rest(run, undisturbed)


@pytest.mark.parametrize(
    "script", ['exec nohup "$@" >"$0" 2>&1', 'trap "" HUP; exec "$@"'], ids=["nohup", "trap"]
)
def test_where_hang_ups_are_ignored_it_goes_on_to_the_end(
    script: str, videos: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    prefix = (*IN_A_SESSION, "sh", "-c", script, str(tmp_path / "log.txt"))
    with terminal() as (ours, theirs):
        run = CommandRun(videos, out, SETTINGS, prefix=prefix, terminal=theirs)
        os.close(theirs)
        while not (out / ".vrmatte/journal.jsonl").exists() or segments(out) < 1:
            assert run.goes_on(0.02)
            if select.select([ours], [], [], 0)[0]:
                with suppress(OSError):  # nobody has it as a terminal any more
                    os.read(ours, 1 << 16)
        os.close(ours)
        assert run.process.wait() == 0
    assert run.left_behind() == []
    assert outputs(out) == undisturbed
    assert "run_failed" not in (out / ".vrmatte/logs/orchestrator.jsonl").read_text()


def test_when_nobody_listens_any_more_it_goes_on(videos_of: VideosOf, tmp_path: Path) -> None:
    listener, speaker = os.pipe()
    run = CommandRun(videos_of([SHORT]), tmp_path / "out", SETTINGS, terminal=speaker)
    os.close(speaker)
    assert os.read(listener, 1)
    os.close(listener)
    assert run.process.wait() == 0
    assert len(outputs(run.out)) == 1
