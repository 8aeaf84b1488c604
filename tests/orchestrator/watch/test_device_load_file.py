"""The load of a run outlives its process, as far as it was written, and no other run takes it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from orchestrator.watch.device_load_file import LoadFile, load_path, read_load
from tests.orchestrator.pages import BEGIN, load


def test_what_is_written_is_read_by_that_run_alone_and_not_written_too_often(
    tmp_path: Path,
) -> None:
    load_path(tmp_path).parent.mkdir()
    now = [0.0]
    file = LoadFile(tmp_path, lambda: now[0])
    file.update((), BEGIN)
    assert read_load(tmp_path, BEGIN) == ()
    for now[0], points in ((0.0, load()[:2]), (19.0, load()[:3]), (20.0, load())):
        file.update(points, BEGIN + timedelta(seconds=now[0]))
        expected = load()[:2] if now[0] < 20 else load()
        assert read_load(tmp_path, BEGIN) == expected
    assert read_load(tmp_path, BEGIN + timedelta(seconds=21)) == ()
    assert [path.name for path in load_path(tmp_path).parent.iterdir()] == ["load.json"]


def test_what_cannot_be_written_or_read_is_no_trouble(tmp_path: Path) -> None:
    LoadFile(tmp_path / "gone").update(load(), BEGIN)
    path = load_path(tmp_path)
    path.parent.mkdir()
    for content in (b"", b"{", b"[]", b'{"schema": 1, "updated": "now", "points": [{}]}'):
        path.write_bytes(content)
        assert read_load(tmp_path, BEGIN) == ()
