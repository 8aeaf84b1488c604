"""OUT is moved, copied, or holds files of others: nothing of theirs is touched, none of ours
is lost, and one file's trouble costs that file alone.

The real pipeline, with workers as threads, on what `test_resume` lays out.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.files import receipts
from tests.end_to_end.test_resume import (
    CLIPS,
    Unfinished,
    after_a_segment,
    made,
    unfinished,
    videos,
)
from tests.runs import committed, files_left, journal, outputs

__all__ = ["made", "unfinished", "videos"]

pytestmark = pytest.mark.slow

#: The output of the first clip.
NAME = "one_LR_360_matte.webm"


def content_of(folder: Path) -> dict[str, str]:
    """Hashes of all files in a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def results(out: Path) -> dict[str, dict[str, Any]]:
    report = json.loads((out / "report.json").read_text())
    return {video["name"]: video for video in report["videos"]}


@pytest.mark.parametrize("how", ["copied", "moved"])
def test_a_run_goes_on_where_its_folder_is_now(
    how: str, unfinished: Unfinished, tmp_path: Path
) -> None:
    """Segments are committed, and two were lost: some work is left beside the joining."""
    old, new = unfinished.out, tmp_path / "elsewhere" / "out"
    unfinished.find(".vrmatte/work/VIDEO/*/webm-000001.webm").unlink()
    new.parent.mkdir()
    (shutil.copytree if how == "copied" else shutil.move)(old, new)
    before = content_of(old) if how == "copied" else {}
    there = dataclasses.replace(unfinished.run, out=new)
    segments = len(committed(new))
    assert there.run() == 0, there.said.getvalue()
    assert outputs(new) == unfinished.outputs
    assert len(committed(new)) == segments + 1
    if how == "copied":
        assert content_of(old) == before
    else:
        assert not old.exists()
    # Nothing that is written down names the place.
    for path in (new / "report.json", new / ".vrmatte/run.yaml", new / ".vrmatte/journal.jsonl"):
        said = path.read_text().replace(json.dumps(str(new)), "")
        assert f"{new}/" not in said, path


def foreign(path: Path) -> None:
    path.write_bytes(b"theirs")


def test_a_file_that_appears_during_a_run_is_kept_and_the_video_only_joined_later(
    unfinished: Unfinished, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished.find(".vrmatte/work/VIDEO/*/webm-000001.webm").unlink()
    target = unfinished.out / NAME
    with after_a_segment(lambda: foreign(target), monkeypatch):
        assert unfinished.run.run() == 1, unfinished.run.said.getvalue()
    assert target.read_bytes() == b"theirs"
    found = results(unfinished.out)
    assert found[CLIPS[1].name]["result"] == "done"
    message = found[CLIPS[0].name]["error"]["message"]
    assert message == f"{target} exists and was not made by vrmatte"
    # The next run sees it when planning, and goes on when it is gone.
    assert unfinished.run.run() == 1
    assert results(unfinished.out)[CLIPS[0].name]["result"] == "set aside"
    assert target.read_bytes() == b"theirs"
    target.unlink()
    assert unfinished.go_on() == 0


def test_a_file_that_came_while_a_run_was_interrupted_is_kept(unfinished: Unfinished) -> None:
    target = unfinished.out / NAME
    foreign(target)
    assert unfinished.run.run() == 1
    assert target.read_bytes() == b"theirs"
    assert results(unfinished.out)[CLIPS[0].name]["result"] == "set aside"
    target.unlink()
    assert unfinished.go_on() == 0


def test_a_crash_between_the_name_and_the_journal_is_no_clash(
    unfinished: Unfinished, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The output has its name, the journal does not know it: the same command goes on."""
    [fingerprint] = {path.parent for path in unfinished.out.glob(".vrmatte/work/*/*/webm-000002*")}
    assert unfinished.go_on() == 0
    kept = (unfinished.out / NAME).read_bytes()
    unfinished.lay_out()
    target = unfinished.out / NAME
    target.write_bytes(kept)
    digest = hashlib.sha256(kept).hexdigest()
    receipts.leave_receipt(fingerprint, "webm", target, digest)
    assert unfinished.go_on() == 0


def folder_with_its_name(out: Path) -> None:
    (out / NAME).mkdir()


def link_to_nowhere(out: Path) -> None:
    (out / NAME).symlink_to("gone")


@pytest.mark.parametrize("clash", [folder_with_its_name, link_to_nowhere])
def test_one_place_that_takes_no_file_costs_one_video(
    clash: Callable[[Path], None], unfinished: Unfinished, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished.find(".vrmatte/work/VIDEO/*/webm-000001.webm").unlink()
    with after_a_segment(lambda: clash(unfinished.out), monkeypatch):
        assert unfinished.run.run() == 1, unfinished.run.said.getvalue()
    found = results(unfinished.out)
    assert found[CLIPS[0].name]["error"]["kind"] == "output"
    assert found[CLIPS[1].name]["result"] == "done"
    assert journal(unfinished.out)[-1]["entry"]["stopped"] is False


def test_a_folder_in_the_place_of_a_segment_costs_one_video(unfinished: Unfinished) -> None:
    part = unfinished.find(".vrmatte/work/VIDEO/*/webm-000001.webm")
    part.unlink()
    part.mkdir()
    (part / "something").write_bytes(b"")
    assert unfinished.run.run() == 1, unfinished.run.said.getvalue()
    found = results(unfinished.out)
    assert found[CLIPS[0].name]["error"]["kind"] == "output"
    assert found[CLIPS[1].name]["result"] == "done"
    shutil.rmtree(part)
    assert unfinished.go_on() == 1


def test_outputs_have_the_digests_of_their_files(unfinished: Unfinished) -> None:
    assert unfinished.go_on() == 0
    assert files_left(unfinished.out) == set()
    for video in results(unfinished.out).values():
        for output in video["outputs"]:
            path = unfinished.out / output["path"]
            assert output["digest"] == hashlib.sha256(path.read_bytes()).hexdigest()
