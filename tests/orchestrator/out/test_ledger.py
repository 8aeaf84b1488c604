"""An OUT lists all that it holds, whatever later runs were asked for or did to its record."""

from __future__ import annotations

import io
import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from orchestrator.out.folder import OutFolder
from orchestrator.out.ledger import known_videos
from orchestrator.report.again import write_again
from orchestrator.report.rebuild import Found, found_in, read_report
from pipeline.errors import SettingsError
from tests.orchestrator.run.test_run import Place, SupervisorDouble, place

__all__ = ["place"]

NOW = datetime(2026, 12, 1, tzinfo=UTC)


def found(place: Place) -> Found:
    return found_in(OutFolder(place.out), NOW)


def files(place: Place) -> list[str]:
    """The finished files that lie in OUT."""
    own = (".json", ".html")
    there = (path for path in place.out.rglob("*") if ".vrmatte" not in path.parts)
    return sorted(path.name for path in there if path.is_file() and path.suffix not in own)


def listed(place: Place) -> list[str]:
    """Those of the report; the one that is made of the record alone has the same."""
    report = json.loads((place.out / "report.json").read_text())
    names = sorted(Path(f["path"]).name for video in report["videos"] for f in video["outputs"])
    kept = (place.out / "report.json").read_bytes()
    (place.out / "report.json").unlink()
    again = found(place)
    (place.out / "report.json").write_bytes(kept)
    assert names == sorted(Path(f.path).name for v in again.state.report.videos for f in v.outputs)
    keys = [video.id for video in again.state.report.videos]
    assert sorted(keys) == sorted(again.infos), "each has its own, and its pictures can be made"
    return names


def results(place: Place) -> dict[str, str]:
    return {video["name"]: video["result"] for video in place.report()["videos"]}  # type: ignore[attr-defined]


def only(place: Place, name: str) -> Place:
    """A run of one of the videos."""
    place.folder = place.folder / name
    return place


def test_a_fresh_run_of_one_video_disowns_no_other(place: Place) -> None:
    folder, again = place.folder, SupervisorDouble()
    place.run(SupervisorDouble(leave=("sub/b.mp4",)))
    begun = {path for path in place.work() if path.name == "seg-000000.webm"}
    assert only(place, "a.mp4").run(again, fresh=True) == 0
    assert again.worked_on == ["a.mp4"]
    assert begun <= set(place.work())
    assert results(place) == {"a.mp4": "done", "sub/b.mp4": "not finished"}
    place.folder = folder
    assert place.run() == 0
    assert results(place) == {"a.mp4": "done earlier", "sub/b.mp4": "done"}
    for short in (9, 240):
        place.folder = folder
        fresh: Any = {"input": {"max_frames": short}}
        assert only(place, "a.mp4").run(fresh=True, **fresh) == 0
        assert "2 of 2 videos done" in place.status()
        assert listed(place) == files(place)
    place.folder = folder
    last = SupervisorDouble()
    assert place.run(last) == 0
    assert last.worked_on == [], "all is known as done, and as ours"


def test_a_fresh_run_that_was_stopped_goes_on_with_what_it_made_itself(place: Place) -> None:
    place.run()
    stopped = SupervisorDouble(leave=("a.mp4",))
    assert place.run(stopped, fresh=True) == 130
    assert stopped.worked_on == ["a.mp4", "sub/b.mp4"]
    again = SupervisorDouble()
    assert place.run(again) == 0
    assert again.worked_on == ["a.mp4"]
    assert "2 of 2 videos done" in place.status()


def test_a_dry_fresh_run_foretells_all_and_forgets_nothing(place: Place) -> None:
    place.run()
    journal = (place.out / ".vrmatte/journal.jsonl").read_bytes()
    place.answers.truncate(0)
    assert place.run(fresh=True, dry_run=True) == 0
    assert "done earlier" not in place.answers.getvalue()
    assert (place.out / ".vrmatte/journal.jsonl").read_bytes() == journal
    again = SupervisorDouble()
    assert place.run(again) == 0
    assert again.worked_on == []


def test_a_shorter_file_that_was_asked_for_afresh_may_be_gone_on_with(place: Place) -> None:
    place.run()
    short: Any = {"input": {"max_frames": 9}}
    assert place.run(SupervisorDouble(leave=("a.mp4",)), fresh=True, **short) == 130
    assert place.run(**short) == 0
    assert "2 of 2 videos done" in place.status()
    shorter: Any = {"input": {"max_frames": 4}}
    assert place.run(**shorter) == 1, "what was given up then is a finished file now"


def test_a_journal_that_nobody_can_read_is_kept_by_a_fresh_run(place: Place) -> None:
    place.run()
    journal = place.out / ".vrmatte/journal.jsonl"
    journal.unlink()
    journal.mkdir()
    assert place.run(fresh=True) == 0
    assert "it is kept as journal.jsonl.damaged, and a new one is begun" in place.told.getvalue()
    assert "2 of 2 videos done" in place.status()


def test_files_of_other_formats_and_names_stay_listed(place: Place) -> None:
    only(place, "a.mp4").run(output={"formats": ["webm", "greenscreen"]})
    place.run(output={"formats": ["matte"]})
    place.run(output={"formats": ["webm"], "name": "{stem}-two{tags}"})
    assert len(files(place)) == 4
    assert listed(place) == files(place)
    assert "3 of 3 videos done" in place.status()
    # One of the two files of the first run is made anew, the other stays what it was.
    place.run(output={"formats": ["webm"]}, encoding={"vp9_crf": 40})
    assert len(files(place)) == 4
    assert listed(place) == files(place)
    assert "4 of 4 videos done" in place.status()
    assert "a.mp4 (greenscreen)" in place.status()
    # By an OUT whose ledger never knew of them: the journal does.
    (place.out / ".vrmatte/videos.json").unlink()
    assert listed(place) == files(place)
    place.run(output={"formats": ["webm"]}, encoding={"vp9_crf": 40})
    assert listed(place) == files(place)
    (place.out / files(place)[0]).unlink()
    place.run(output={"formats": ["webm"]}, encoding={"vp9_crf": 40})
    assert listed(place) == files(place)


@pytest.mark.parametrize("damage", ["cut", "no json", "no list", "entries", "folder", "pipe"])
def test_a_damaged_ledger_is_told_and_kept_and_loses_nothing(damage: str, place: Place) -> None:
    folder = place.folder
    only(place, "a.mp4").run(output={"formats": ["greenscreen"]})
    place.run()
    place.folder = folder
    only(place, "sub/b.mp4").run()
    ledger = place.out / ".vrmatte/videos.json"
    contents = {
        "cut": ledger.read_bytes()[:-20],
        "no json": b"\xff\x00",
        "no list": b"{}",
        "entries": b'[{"id": 3}]',
    }
    ledger.unlink()
    if damage == "folder":
        ledger.mkdir()
    elif damage == "pipe":
        os.mkfifo(ledger)
    else:
        ledger.write_bytes(contents[damage])
    (told,) = [line for line in place.status().splitlines() if line.startswith("videos.json ")]
    assert "3 of 3 videos done" in place.status()
    assert told in found(place).remarks
    assert place.run() == 0
    (told,) = [t for t in place.told.getvalue().splitlines() if t.startswith("videos.json ")]
    assert told.endswith("it is kept as videos.json.damaged")
    if damage in contents:
        assert ledger.with_name("videos.json.damaged").read_bytes() == contents[damage]
    assert "3 of 3 videos done" in place.status()
    assert "videos.json" not in place.status()
    assert listed(place) == files(place)
    assert len(known_videos(OutFolder(place.out)).videos) == 3


def paths(place: Place) -> list[str]:
    """Those of the outputs in the report, where they are now."""
    report = read_report(place.out / "report.json")
    return sorted(file.path for video in report.videos for file in video.outputs)


@pytest.mark.parametrize("way", ["moved", "copied", "linked"])
def test_an_out_that_moved_is_the_same(way: str, place: Place, tmp_path: Path) -> None:
    place.run()
    new = tmp_path / "it's another OUT +#%"
    if way == "moved":
        place.out.rename(new)
    elif way == "copied":
        shutil.copytree(place.out, new, copy_function=shutil.copyfile)  # with other times
        shutil.rmtree(place.out)
    else:
        new.symlink_to(place.out)
    place.out = new
    assert "2 of 2 videos done" in place.status()
    assert listed(place) == files(place)
    again = SupervisorDouble()
    assert place.run(again) == 0
    assert again.worked_on == []
    assert set(results(place).values()) == {"done earlier"}
    assert [Path(path).exists() for path in paths(place)] == [True, True]
    assert all(Path(path).is_relative_to(new) for path in paths(place))


def test_an_out_that_is_read_only_can_be_looked_at(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.run()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK and access(path, mode))
    assert "2 of 2 videos done" in place.status()
    with pytest.raises(SettingsError, match=r"is read-only, and holds no report\.html"):
        write_again(place.out, Console(), Console())
    page = place.out / "report.html"
    page.write_text("as it was")
    progress, answers = io.StringIO(), io.StringIO()
    write_again(place.out, Console(file=progress, width=200), Console(file=answers, width=200))
    assert "is read-only: the page stays that of 20" in progress.getvalue()
    assert answers.getvalue().strip() == f"report: {page}"
    assert page.read_text() == "as it was"


def test_a_path_is_read_as_it_is_for_links_to_lead_there(place: Place) -> None:
    source = place.folder / "line\nfeed.mp4"
    (place.folder / "a.mp4").rename(source)
    place.run()
    assert [Path(path).exists() for path in paths(place)] == [True, True]
