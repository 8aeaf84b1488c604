"""Whatever is left in OUT, `status` and `report` show what can be shown, or say one line."""

from __future__ import annotations

import io
import json
import os
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from orchestrator.out.folder import OutFolder
from orchestrator.out.journal import Journal, read_lines
from orchestrator.report.again import write_again
from orchestrator.report.rebuild import found_in
from orchestrator.report.report import write_report
from orchestrator.watch.logs import Logs
from orchestrator.watch.standing import read_standing, standing_path
from orchestrator.watch.status import show_status
from pipeline.errors import DiskError, MachineError, SettingsError, VrmatteError
from tests.orchestrator.finished_out import finished_out
from tests.texts import mutated

NOW = datetime(2026, 12, 1, tzinfo=UTC)


@pytest.fixture
def out(tmp_path: Path) -> OutFolder:
    return finished_out(tmp_path / "out", 2)


def shown(show: Callable[[Console], object]) -> tuple[str, VrmatteError | None]:
    """What is printed, and the error with which it ends."""
    stream = io.StringIO()
    try:
        show(Console(file=stream, width=200))
    except VrmatteError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return stream.getvalue(), error
    return stream.getvalue(), None


def status(out: OutFolder) -> tuple[str, VrmatteError | None]:
    return shown(lambda console: show_status(out.path, console, lambda: NOW))


def report(out: OutFolder) -> tuple[str, VrmatteError | None]:
    return shown(lambda console: write_again(out.path, console, console, pictures=False))


def test_a_video_that_is_damaged_in_the_record_costs_only_itself(out: OutFolder) -> None:
    record = yaml.safe_load(out.run_file.read_text())
    record["videos"][0]["segments"] = [[50, "x"]]
    record["set_aside"] = [{"name": "bad.mp4"}, {"name": "worse.mp4", "reason": "no video"}]
    out.run_file.write_text(yaml.safe_dump(record))
    said, error = status(out)
    assert error is None
    assert "talk01.mp4" in said
    assert "talk00.mp4" not in said
    assert "worse.mp4: set aside: no video" in said
    assert "run.yaml is damaged: 2 videos in it cannot be shown" in said
    said, error = report(out)
    assert error is None
    assert "run.yaml: damaged videos: 2" in said


@pytest.mark.parametrize(
    "content",
    [b"", b"videos: 3", b"\xff", b"[" * 20_000, b"a: !!int ''", b"fingerprint: f\nvideos: []\n"],
)
def test_a_record_that_is_none_leaves_what_the_journal_says(out: OutFolder, content: bytes) -> None:
    out.run_file.write_bytes(content)
    said, error = status(out)
    assert said == "by the journal, 2 videos done, 4 segments made\n"
    assert isinstance(error, MachineError)
    assert f"{out.run_file} is damaged" in error.message
    assert isinstance(report(out)[1], MachineError)


def test_a_page_is_made_of_the_report_where_the_record_is_damaged(out: OutFolder) -> None:
    write_report(found_in(out, NOW).state.report, out.report)
    out.run_file.write_text("videos: 3")
    said, error = report(out)
    assert error is None
    assert "is damaged (its field 'fingerprint' is not there" in said
    assert "the page shows report.json" in said
    assert "talk01.mp4" in out.page.read_text(encoding="utf-8")


def test_lines_of_the_journal_that_are_damaged_are_counted(out: OutFolder) -> None:
    lines = out.journal.read_bytes().splitlines(keepends=True)
    texts = (b'{"x":1', b'{"v":1,"entry":3', b'{"v":1,"entry":{"kind":"segment","result":7}')
    foreign = [text + b',"sum":"%08x"}\n' % zlib.crc32(text) for text in texts]
    damaged = lines[1].replace(b"segment", b"sergeant")
    out.journal.write_bytes(b"".join([lines[0], damaged, *foreign, *lines[2:], b'{"half']))
    entries, count = read_lines(out.journal)
    assert (len(entries), count) == (len(lines) - 1, 4)
    said, error = status(out)
    assert error is None
    assert "journal.jsonl is damaged: 4 lines of it cannot be read" in said
    Journal.open(out.journal).close()
    assert read_lines(out.journal)[1] == 4


def test_a_state_that_is_no_file_is_told_and_never_waited_for(out: OutFolder) -> None:
    """A pipe to which nobody writes would never answer."""
    out.lock.unlink(missing_ok=True)
    for path in (out.journal, out.run_file, out.report, standing_path(out.path), out.lock):
        kept = path.read_bytes() if path.exists() else None
        path.unlink(missing_ok=True)
        os.mkfifo(path)
        error = status(out)[1]
        assert error is None or "is not a regular file" in str(error)
        report(out)
        path.unlink()
        if kept is not None:
            path.write_bytes(kept)
    os.mkfifo(out.logs / "cpu0.jsonl")
    assert list(Logs(out, None).new_lines()) == []
    out.journal.unlink()
    os.mkfifo(out.journal)
    with pytest.raises((DiskError, SettingsError), match="is not a regular file"):
        Journal.open(out.journal)


@pytest.mark.parametrize(
    "line",
    [
        b'{"timestamp": "0001-01-01T00:00:00+09:00", "event": "x"}',
        b'{"timestamp": 3, "event": "x"}',
        b"[" * 20_000,
        b'{"timestamp": "2026-01-01", "event": "x", "deep": ' + b"[" * 500 + b"]" * 500 + b"}",
    ],
)
def test_a_line_of_a_log_that_is_none_is_shown_as_it_is(out: OutFolder, line: bytes) -> None:
    (out.logs / "cpu0.jsonl").write_bytes(line + b"\n")
    (found,) = Logs(out, None).new_lines()
    assert found.text == line.decode()


def test_a_standing_without_a_time_zone_is_none(out: OutFolder) -> None:
    from tests.orchestrator.watch.test_standing import standing

    naive = standing().updated.replace(tzinfo=None).isoformat()
    said = json.dumps({"schema": 1, "updated": naive})
    standing_path(out.path).write_text(said)
    assert read_standing(out.path) is None


@given(st.data())
@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_whatever_is_written_there_it_is_shown_or_one_line(
    out: OutFolder, data: st.DataObject
) -> None:
    write_report(found_in(out, NOW).state.report, out.report)
    path = data.draw(st.sampled_from([out.run_file, out.journal, out.report]))
    sound = path.read_bytes()
    path.write_bytes(data.draw(mutated(sound)))
    try:
        for show in (status, report):
            said, error = show(out)
            assert said or error
    finally:
        path.write_bytes(sound)
