"""The journal says what was written and nothing else, whatever was done to its file."""

from __future__ import annotations

import errno
import json
import os
import resource
import zlib
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.fleet.jobs import VideoJob
from orchestrator.fleet.journal_entries import (
    Entry,
    RunEnded,
    RunStarted,
    SegmentCommitted,
    TaskLost,
    VideoDone,
    VideoSetAside,
    WorkerLost,
)
from orchestrator.out.journal import Journal
from pipeline.contract import Finding, OutputFile, SegmentResult
from pipeline.errors import DiskError, ErrorRecord, SettingsError
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
        VideoDone("a", "s1", (OutputFile("webm", "/out/a.webm", 77, 10, "d1"),)),
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


def test_findings_and_seconds_of_a_segment_come_back(tmp_path: Path) -> None:
    findings = (
        Finding("judge", "jump", 3, 4, 1, (0.25,), "left"),
        Finding("another package's stage", "anything", 0, 9),
    )
    seconds = {"decode": 0.25, "matting": 1.5, "encode": 0.125}
    result = SegmentResult(("x.webm",), 10, findings=findings, stage_seconds=seconds, wall_s=2.5)
    entry = SegmentCommitted("a", "s1", 0, 0, 10, result, (5,))
    path = tmp_path / "journal.jsonl"
    write(path, [entry])
    assert read(path) == ([entry], 0)
    [found] = read(path)[0]
    assert isinstance(found, SegmentCommitted)
    # Equal results need not have these in common.
    assert (found.result.stage_seconds, found.result.wall_s) == (seconds, 2.5)
    assert list(found.result.stage_seconds) == list(seconds), "in their order"


#: The entry of a segment as it was written before results had findings.
OLDER: dict[str, object] = {
    "video": "a",
    "settings": "s1",
    "segment": 1,
    "start": 10,
    "stop": 20,
    "result": {
        "files": ["x.webm"],
        "num_frames": 10,
        "concealed_frames": 1,
        "decoder": "CPU",
        "digests": ["ab"],
        "stereo": {
            "num_frames": 10,
            "mended_frames": [13, 14, 17],
            "mean_agreement": 0.5,
            "subject_depth_m": 1.25,
        },
        "flags": [
            {
                "kind": "touches_edge",
                "first_frame": 13,
                "last_frame": 14,
                "eye": 1,
                "value": 0.25,
                "side": "left",
            }
        ],
        "dropped_flags": 2,
        "area": [0.1, 0.2],
        "border": [
            {"frame": 10, "area": [0.1, 0.125], "cut": False},
            {"frame": 19, "area": [0.1, 0.0], "cut": True},
        ],
        "stages": {
            "wall_s": 2.5,
            "decode_s": 0.25,
            "matte_s": 1.5,
            "planes_s": 0.125,
            "encode_s": 0.75,
        },
    },
    "sizes": [5],
    "kind": "segment",
}


def line_of(entry: dict[str, object]) -> bytes:
    body = {"v": 1, "at": 1234.5, "entry": entry}
    text = json.dumps(body, separators=(",", ":")).encode()[:-1]
    return text + b',"sum":"%08x"}\n' % zlib.crc32(text)


def test_lines_of_before_there_were_findings_are_read_with_all_that_they_tell(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(line_of(OLDER))
    [entry], dropped = read(path)
    result = SegmentResult(
        ("x.webm",),
        10,
        1,
        "CPU",
        ("ab",),
        findings=(
            Finding("stereo", "mended", 13, 14),
            Finding("stereo", "mended", 17, 17),
            Finding("stereo", "agreement", 10, 19, values=(0.5,)),
            Finding("stereo", "distance", 10, 19, values=(1.25,)),
            Finding("judge", "touches_edge", 13, 14, 1, (0.25,), "left"),
            Finding("judge", "dropped", 10, 19, values=(2,)),
            Finding("judge", "area", 10, 19, values=(0.1, 0.2)),
            Finding("judge", "border", 10, 10, values=(0.1, 0.125)),
            Finding("judge", "border", 19, 19, values=(0.1, 0.0), detail="cut"),
        ),
    )
    assert (entry, dropped) == (SegmentCommitted("a", "s1", 1, 10, 20, result, (5,)), 0)
    assert isinstance(entry, SegmentCommitted)
    assert entry.result.wall_s == 2.5
    assert entry.result.stage_seconds == {
        "decode": 0.25,
        "matte": 1.5,
        "planes": 0.125,
        "encode": 0.75,
    }


@pytest.mark.parametrize(
    "missing", ["stereo", "flags", "dropped_flags", "area", "border", "stages"]
)
def test_still_older_lines_tell_less(tmp_path: Path, missing: str) -> None:
    told = OLDER["result"]
    assert isinstance(told, dict)
    path = tmp_path / "journal.jsonl"
    less = {name: value for name, value in told.items() if name != missing}
    bare = {name: told[name] for name in ("files", "num_frames", "concealed_frames", "decoder")}
    path.write_bytes(line_of({**OLDER, "result": less}) + line_of({**OLDER, "result": bare}))
    [entry, barest], dropped = read(path)
    assert dropped == 0
    assert isinstance(entry, SegmentCommitted)
    assert entry.result.digests == ("ab",)
    result = SegmentResult(("x.webm",), 10, 1, "CPU")
    assert barest == SegmentCommitted("a", "s1", 1, 10, 20, result, (5,))


def test_a_line_of_before_that_is_not_understood_costs_itself(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    told = OLDER["result"]
    assert isinstance(told, dict)
    odd = line_of({**OLDER, "result": {**told, "flags": [{"kind": "unheard of"}]}})
    odder = line_of({"kind": "segment", "result": {}})
    path.write_bytes(odd + odder + line_of(OLDER))
    entries, dropped = read(path)
    assert (len(entries), dropped) == (1, 2)


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


def test_a_flipped_bit_anywhere_costs_its_line_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    path = tmp_path / "journal.jsonl"
    content = write(path, every_entry())
    for position in range(len(content)):
        flipped = bytearray(content)
        flipped[position] ^= 1 << position % 8
        path.write_bytes(flipped)
        entries, _ = read(path)
        hit = content[:position].count(b"\n")
        # A line that has lost its end takes the next one with it.
        lost = {hit, hit + 1} if content[position] == ord("\n") else {hit}
        assert entries == [entry for n, entry in enumerate(every_entry()) if n not in lost]


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_whatever_was_done_to_it_only_entries_that_were_written_are_read(
    data: st.DataObject,
) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        content = write(path, every_entry())
        pieces = []
        for _ in range(data.draw(st.integers(0, 6))):
            begin = data.draw(st.integers(0, len(content)))
            pieces.append(content[begin : data.draw(st.integers(begin, len(content)))])
            pieces.append(data.draw(st.binary(max_size=30)))
        path.write_bytes(b"".join(pieces))
        journal = Journal.open(path)
        assert all(entry in every_entry() for entry in journal.entries)
        before = journal.entries.copy()
        journal.append(RunEnded(9, 9, True))
        journal.close()
        assert read(path) == ([*before, RunEnded(9, 9, True)], read(path)[1])


def test_a_journal_of_another_version_is_refused_with_advice(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    text = b'{"v":2,"at":0,"entry":{"kind":"run-ended"}'
    path.write_bytes(text + b',"sum":"%08x"}\n' % zlib.crc32(text))
    with pytest.raises(SettingsError, match="--fresh"):
        Journal.open(path)


def test_every_entry_is_forced_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal.jsonl"
    sizes: list[int] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        target = Path(f"/proc/self/fd/{descriptor}").readlink()
        if target == path:
            sizes.append(path.stat().st_size)
        elif target == tmp_path:
            sizes.append(0)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    content = write(path, every_entry())
    ends = [0]
    for line in content.splitlines(keepends=True):
        ends.append(ends[-1] + len(line))
    assert sizes == ends  # once for the new name in the folder, then after each line


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, r"no room left for .* \(make room"),
        (errno.EDQUOT, "the quota is used up"),
        (errno.EROFS, "is read-only"),
        (errno.EIO, "Input/output error"),
        (errno.EFBIG, "larger than its disk lets"),
    ],
)
def test_a_full_disk_is_an_error_with_advice_and_leaves_no_half_line(
    number: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    path = tmp_path / "journal.jsonl"
    journal = Journal.open(path)
    journal.append(RunStarted(1, 1))
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(DiskError, match=words):
            journal.append(RunStarted(2, 2))
    assert journal.entries == [RunStarted(1, 1)]
    assert path.read_bytes() == before
    journal.append(RunEnded(0, 0, True))  # there is room again
    journal.close()
    assert read(path) == ([RunStarted(1, 1), RunEnded(0, 0, True)], 0)


def test_a_line_that_fits_in_part_is_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal.open(path)
    journal.append(RunStarted(1, 1))
    whole = path.stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (whole + 20, hard))
    try:
        with pytest.raises(DiskError):
            journal.append(RunStarted(2, 2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.stat().st_size == whole
    journal.append(RunStarted(2, 2))
    journal.close()
    assert read(path) == ([RunStarted(1, 1), RunStarted(2, 2)], 0)


def test_a_journal_that_was_deleted_takes_no_more(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "journal.jsonl")
    journal.append(RunStarted(1, 1))
    (tmp_path / "journal.jsonl").unlink()
    with pytest.raises(DiskError, match=r"journal\.jsonl is gone \(it was deleted\)"):
        journal.append(RunStarted(2, 2))
    journal.close()


def test_a_journal_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").mkdir()
    with pytest.raises(DiskError, match=r"journal\.jsonl is not a regular file"):
        Journal.open(tmp_path / "journal.jsonl")


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
    assert list(journal.told(job)) == [0, 1]
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
    silent = replace(job, settings=replace(job.settings, audio="none"))
    assert silent.settings.fingerprint() == job.settings.fingerprint()  # the segments are the same
    assert journal.published(silent) is None
    target.write_bytes(b"123456")
    assert journal.published(job) is None
    target.unlink()
    assert journal.published(job) is None
    journal.close()
