"""What is written down of files in OUT is true wherever OUT is, and leads nowhere else."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.fleet.jobs import VideoJob
from orchestrator.fleet.journal_entries import SegmentCommitted, VideoDone
from orchestrator.out.below import in_out, written
from orchestrator.out.folder import OutFolder
from orchestrator.out.journal import Journal
from pipeline.contract import OutputFile, SegmentResult
from tests.orchestrator.out.test_journal import line_of
from tests.orchestrator.worlds import make_job

VIDEO = "0123456789abcdef"


def job_in(out: Path) -> VideoJob:
    """Of one segment, whose file lies in its work folder, and one output."""
    job = make_job(VIDEO, segments=1)
    work = out / ".vrmatte/work" / VIDEO / job.settings.fingerprint()
    return replace(job, work_dir=str(work), outputs=(str(out / "day 2/talk.webm"),))


def lay_out(job: VideoJob) -> tuple[SegmentCommitted, VideoDone]:
    """The files of a job, and what is said of them."""
    settings = job.settings.fingerprint()
    part, output = Path(job.work_dir, "webm-000000.webm"), Path(job.outputs[0])
    for path, content in ((part, b"part"), (output, b"output")):
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    result = SegmentResult((str(part),), 10)
    return (
        SegmentCommitted(VIDEO, settings, 0, 0, 10, result, (4,)),
        VideoDone(VIDEO, settings, (OutputFile("webm", str(output), 6, 10),)),
    )


@pytest.fixture
def out(tmp_path: Path) -> OutFolder:
    folder = OutFolder(tmp_path / "old place" / "out")
    folder.create()
    with closing(Journal.open(folder.journal)) as journal:
        for entry in lay_out(job_in(folder.path)):
            journal.append(entry)
    return folder


def test_no_place_of_out_is_in_the_journal(out: OutFolder) -> None:
    said = out.journal.read_text()
    assert str(out.path) not in said
    entries = [json.loads(line)["entry"] for line in said.splitlines()]
    [file] = entries[0]["result"]["files"]
    assert file == str(Path(job_in(out.path).work_dir, "webm-000000.webm").relative_to(out.path))
    assert entries[1]["outputs"][0]["path"] == "day 2/talk.webm"


@pytest.mark.parametrize("old", ["is gone", "is still there"])
def test_a_moved_or_copied_out_speaks_of_its_own_files(old: str, out: OutFolder) -> None:
    new = out.path.parent.parent / "new"
    (shutil.move if old == "is gone" else shutil.copytree)(out.path, new)
    job = job_in(new)
    with closing(Journal.open(OutFolder(new).journal)) as journal:
        [result] = journal.committed(job).values()
        published = journal.published(job)
        assert published is not None
        assert [output.path for output in published] == list(job.outputs)
        assert [Path(file).read_bytes() for file in result.files] == [b"part"]
        assert Path(result.files[0]).is_relative_to(new)
        Path(job.outputs[0]).unlink()
        Path(result.files[0]).unlink()
        assert journal.committed(job) == {}
        assert journal.published(job) is None


def test_lines_with_absolute_paths_count_in_their_own_out_only(tmp_path: Path) -> None:
    """As earlier versions wrote them."""
    job = job_in(tmp_path / "out")
    committed, _ = lay_out(job)
    settings = job.settings.fingerprint()
    common = {"video": VIDEO, "settings": settings}
    output = {
        "deliverable": "webm",
        "path": job.outputs[0],
        "size_bytes": 6,
        "num_frames": 10,
    }
    text = line_of(
        {
            **common,
            **{"segment": 0, "start": 0, "stop": 10, "sizes": [4], "kind": "segment"},
            "result": {"files": list(committed.result.files), "num_frames": 10, "findings": []},
        }
    ) + line_of({**common, "outputs": [output], "kind": "video-done"})
    for folder in (tmp_path / "out", tmp_path / "copy"):
        out = OutFolder(folder)
        out.create()
        out.journal.write_bytes(text)
    with closing(Journal.open(OutFolder(tmp_path / "out").journal)) as journal:
        assert list(journal.committed(job)) == [0]
        assert journal.published(job) is not None
    copied = job_in(tmp_path / "copy")
    with closing(Journal.open(OutFolder(tmp_path / "copy").journal)) as journal:
        assert journal.committed(copied) == {}
        assert journal.published(copied) is None
        done = journal.entries[-1]
        assert isinstance(done, VideoDone)
        assert not Path(done.outputs[0].path).exists()


@pytest.mark.parametrize("path", ["../elsewhere/talk.webm", "/elsewhere/talk.webm", "a/../../b"])
def test_a_path_that_leads_out_is_one_of_nothing(path: str, tmp_path: Path) -> None:
    for place in (tmp_path / path, tmp_path / "out" / path):
        if place.is_relative_to(tmp_path):
            place.parent.mkdir(parents=True, exist_ok=True)
    found = Path(in_out(path, tmp_path / "out"))
    assert found.is_relative_to(tmp_path / "out")
    assert not found.exists()


def test_an_out_that_is_reached_by_a_link_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link"
    link.symlink_to("real")
    assert in_out(str(tmp_path / "real/a.webm"), link) == str(link / "a.webm")
    assert written(str(tmp_path / "real/a.webm"), link) == "a.webm"
    assert written("/in/talk.mp4", link) == "/in/talk.mp4"


def test_the_record_of_a_run_moves_with_it(out: OutFolder) -> None:
    output = str(out.path / "day 2/talk.webm")
    video = {"id": VIDEO, "name": "talk", "frames": 9, "segments": [[0, 9]], "outputs": [output]}
    record = {"fingerprint": "f" * 16, "started": "2026-01-02", "videos": [video]}
    out.write_run_file({**record, "inputs": [], "given_up": [output]})
    assert str(out.path) not in out.run_file.read_text()
    assert out.read_run_file()["videos"] == [video]
    assert out.given_up() == (output,)
    new = OutFolder(out.path.with_name("new"))
    out.path.rename(new.path)
    assert new.given_up() == (str(new.path / "day 2/talk.webm"),)
