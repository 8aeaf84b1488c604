from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from orchestrator.entries import (
    Entry,
    RunEnded,
    RunStarted,
    SegmentCommitted,
    TaskLost,
    VideoDone,
    VideoSetAside,
    WorkerLost,
)
from orchestrator.jobs import VideoJob
from orchestrator.journal import Journal
from pipeline.errors import ErrorRecord, ResourceError, SettingsError
from pipeline.spec import OutputFile, SegmentResult
from tests.orchestrator.worlds import make_job

ERROR = ErrorRecord("decode", "täuschend: \u2028 \n two lines", "do this", "Traceback ...")


def every_entry() -> list[Entry]:
    return [
        RunStarted(3, 2),
        SegmentCommitted(
            "a", "s1", 0, 0, 10, SegmentResult(("x.webm", "y.mp4"), 10, 1, "CPU"), (5, 6)
        ),
        TaskLost("a", None, 2, 1, ERROR),
        WorkerLost(1, 4, ERROR, True),
        VideoDone("a", "s1", (OutputFile("webm", "/out/a.webm", 77, 10),)),
        VideoSetAside("b", "s1", ERROR),
        RunEnded(1, 1, False),
    ]


def write(path: Path, entries: list[Entry]) -> bytes:
    journal = Journal.open(path, clock=lambda: 1234.5)
    for entry in entries:
        journal.append(entry)
    journal.close()
    return path.read_bytes()


def read(path: Path) -> tuple[list[Entry], int]:
    journal = Journal.open(path)
    journal.close()
    return journal.entries, journal.dropped_lines


def test_every_kind_of_entry_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    content = write(path, every_entry())
    assert read(path) == (every_entry(), 0)
    lines = [json.loads(line) for line in content.splitlines()]
    assert {(line["v"], line["at"]) for line in lines} == {(1, 1234.5)}


def test_cut_at_every_byte_the_whole_lines_remain_and_it_can_be_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # thousands of them, tested below
    path = tmp_path / "journal.jsonl"
    entries = every_entry()
    content = write(path, entries)
    for cut in range(len(content) + 1):
        path.write_bytes(content[:cut])
        whole = content[:cut].count(b"\n")
        journal = Journal.open(path)
        assert journal.entries == entries[:whole]
        assert journal.dropped_lines == (not content[:cut].endswith(b"\n") and cut > 0)
        journal.append(RunEnded(9, 9, True))
        journal.close()
        assert read(path) == ([*entries[:whole], RunEnded(9, 9, True)], 0)


@pytest.mark.parametrize(
    "tail", [b"\0" * 500, b"\xff\xfe\n", b'{"v":1}\n', b"[]\n", b'{"v":1,"entry":{"kind":"x"}}\n']
)
def test_garbage_at_the_end_is_cut_off(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    content = write(path, every_entry())
    path.write_bytes(content + tail)
    entries, dropped = read(path)
    assert (entries, dropped) == (every_entry(), 1)
    assert path.read_bytes() == content


def test_a_broken_line_in_the_middle_costs_itself_and_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    lines = write(path, every_entry()).splitlines(keepends=True)
    lines[2] = b"#" + lines[2]
    path.write_bytes(b"".join(lines))
    entries, dropped = read(path)
    assert entries == [entry for n, entry in enumerate(every_entry()) if n != 2]
    assert dropped == 1


def test_a_journal_of_another_version_is_refused_with_advice(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('{"v":2,"at":0,"entry":{"kind":"run-ended"}}\n')
    with pytest.raises(SettingsError, match="--fresh"):
        Journal.open(path)


def test_every_entry_is_forced_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal.jsonl"
    sizes: list[int] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        sizes.append(path.stat().st_size)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    content = write(path, every_entry())
    ends = [0]
    for line in content.splitlines(keepends=True):
        ends.append(ends[-1] + len(line))
    assert sizes == ends  # once for the new name in the folder, then after each line


def test_a_full_disk_is_an_error_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    journal = Journal.open(tmp_path / "journal.jsonl")
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(ResourceError, match=r"No space left on device \(make room"):
        journal.append(RunStarted(1, 1))
    assert journal.entries == []
    journal.close()


def job_in(folder: Path) -> VideoJob:
    job = make_job("a", segments=3, folder=str(folder))
    Path(job.work_dir).mkdir(parents=True)
    return job


def committed(job: VideoJob, number: int, content: bytes, **changes: object) -> SegmentCommitted:
    name = f"seg-{number:06d}.webm"
    Path(job.work_dir, name).write_bytes(content)
    start, stop = job.segments[number]
    values: dict[str, object] = {
        "video": job.id,
        "settings": job.settings.fingerprint(),
        "segment": number,
        "start": start,
        "stop": stop,
        "result": SegmentResult((name,), stop - start),
        "sizes": (len(content),),
    }
    return SegmentCommitted(**{**values, **changes})  # type: ignore[arg-type]


def test_a_segment_counts_only_with_its_line_its_file_its_size_and_its_frames(
    tmp_path: Path,
) -> None:
    job = job_in(tmp_path)
    journal = Journal.open(tmp_path / "journal.jsonl")
    Path(job.work_dir, "seg-000002.webm").write_bytes(b"no line")
    journal.append(committed(job, 0, b"12345"))
    journal.append(committed(job, 1, b"12345", settings="other"))
    assert list(journal.committed(job)) == [0]
    journal.append(committed(job, 1, b"12345", stop=19))
    assert list(journal.committed(job)) == [0]
    journal.append(committed(job, 1, b"12345"))
    assert list(journal.committed(job)) == [0, 1]
    Path(job.work_dir, "seg-000000.webm").write_bytes(b"1234")
    assert list(journal.committed(job)) == [1]
    Path(job.work_dir, "seg-000001.webm").unlink()
    assert journal.committed(job) == {}
    journal.close()


def test_a_video_is_done_only_with_its_line_its_files_and_their_sizes(tmp_path: Path) -> None:
    job = job_in(tmp_path)
    journal = Journal.open(tmp_path / "journal.jsonl")
    target = Path(job.outputs[0])
    target.write_bytes(b"12345")
    assert journal.published(job) is None
    outputs = (OutputFile("webm", str(target), 5, 30),)
    journal.append(VideoDone(job.id, "other settings", outputs))
    assert journal.published(job) is None
    journal.append(VideoDone(job.id, job.settings.fingerprint(), outputs))
    assert journal.published(job) == outputs
    target.write_bytes(b"123456")
    assert journal.published(job) is None
    target.unlink()
    assert journal.published(job) is None
    journal.close()
