"""A journal with redos reads as one of videos that were finished that way."""

from __future__ import annotations

import pytest

from orchestrator.fleet.journal_entries import (
    Entry,
    Redo,
    RedoStarted,
    SegmentCommitted,
    VideoDone,
    VideoForgotten,
    VideoSetAside,
)
from orchestrator.out.redone import Unfolder, in_force, parts_redone, unfinished_redos
from pipeline.contract import OutputFile, SegmentResult
from pipeline.errors import ErrorRecord

OLD, NEW = OutputFile("webm", "/a.webm", 10, 40), OutputFile("webm", "/a.webm", 12, 40)


def redo(first: int, stop: int) -> Redo:
    return Redo("run", "other", first, stop, 4, first * 1.0, stop * 1.0)


def segment(settings: str, number: int, decoder: str) -> SegmentCommitted:
    result = SegmentResult((f"webm-{number}",), 10, decoder=decoder)
    return SegmentCommitted("v", settings, number, number * 10, number * 10 + 10, result, (5,))


def redone(name: str, part: Redo) -> list[Entry]:
    made = [segment(name, number, name) for number in range(part.first, part.stop)]
    return [RedoStarted("v", name, part), *made, VideoDone("v", name, (NEW,))]


FINISHED: list[Entry] = [
    *(segment("run", number, "old") for number in range(4)),
    VideoDone("v", "run", (OLD,)),
]


def told(entries: list[Entry], settings: str) -> dict[int, str]:
    """What decoded each segment, by what is said last."""
    own = [e for e in entries if isinstance(e, SegmentCommitted) and e.settings == settings]
    return {entry.segment: entry.result.decoder for entry in own}


def done(entries: list[Entry], settings: str) -> VideoDone | None:
    own = [e for e in entries if isinstance(e, VideoDone) and e.settings == settings]
    return own[-1] if own else None


def parts(entries: list[Entry], settings: str, path: str = "/a.webm") -> tuple[Redo, ...]:
    own = [e for e in entries if isinstance(e, VideoDone) and e.settings == settings]
    return parts_redone([path], own)


def unfolded(entries: list[Entry]) -> list[Entry]:
    return in_force(entries, Unfolder())


def test_a_part_replaces_its_segments_and_the_files() -> None:
    entries = unfolded([*FINISHED, *redone("redo", redo(1, 3))])
    assert told(entries, "run") == {0: "old", 1: "redo", 2: "redo", 3: "old"}
    assert done(entries, "run") == VideoDone("v", "run", (NEW,), (redo(1, 3),))
    assert done(entries, "other") is None
    assert parts(entries, "run") == (redo(1, 3),)
    assert unfinished_redos(entries) == {}


def test_all_of_a_video_counts_as_a_run_with_these_settings_too() -> None:
    entries = unfolded([*FINISHED, *redone("redo", redo(0, 4))])
    for settings in ("run", "other"):
        assert told(entries, settings) == dict.fromkeys(range(4), "redo")
    assert done(entries, "other") == VideoDone("v", "other", (NEW,))


def test_a_part_that_lies_in_a_later_one_is_not_told_of_any_more() -> None:
    again = [*redone("a", redo(1, 2)), *redone("b", redo(3, 4)), *redone("c", redo(0, 3))]
    assert parts(unfolded([*FINISHED, *again]), "run") == (redo(3, 4), redo(0, 3))
    assert parts(unfolded([*FINISHED, *again, FINISHED[-1]]), "run") == ()


def test_a_redo_that_is_not_finished_changes_nothing() -> None:
    begun = redone("redo", redo(1, 3))[:-1]
    entries = unfolded([*FINISHED, *begun])
    assert entries == [*FINISHED, *begun]
    assert unfinished_redos(entries) == {("v", "run"): redo(1, 3)}
    failed = VideoSetAside("v", "redo", ErrorRecord("encode", "x"))
    assert unfinished_redos([*entries, failed]) == {}


def test_a_redo_that_is_done_counts_under_the_settings_of_the_video_alone() -> None:
    entries = unfolded([*FINISHED, *redone("redo", redo(1, 3))])
    assert done(entries, "redo") is None


def test_the_same_redo_counts_each_time_that_it_is_done() -> None:
    again = [*redone("a", redo(1, 3)), *redone("b", redo(1, 3)), *redone("a", redo(1, 3))]
    entries = unfolded([*FINISHED, *again])
    assert told(entries, "run") == {0: "old", 1: "a", 2: "a", 3: "old"}
    assert done(entries, "run") == VideoDone("v", "run", (NEW,), (redo(1, 3),))


@pytest.mark.parametrize("part", [redo(1, 3), redo(0, 4)], ids=["part", "whole"])
@pytest.mark.parametrize("is_done", [True, False])
def test_a_video_that_is_begun_anew_has_no_redos(part: Redo, is_done: bool) -> None:
    lines = redone("redo", part) if is_done else redone("redo", part)[:-1]
    unfolder = Unfolder()
    forgotten = VideoForgotten("v", "run", ("/a.webm",))
    assert in_force([*FINISHED, *lines, forgotten], unfolder) == [forgotten]
    assert not unfolder.begun
    anew = unfolded([*FINISHED, *lines, forgotten, *FINISHED])
    assert anew == [forgotten, *FINISHED]


def test_redos_of_other_videos_and_of_other_files_stay_when_one_is_begun_anew() -> None:
    lines = [*FINISHED, *redone("redo", redo(1, 3))]
    for forgotten in (VideoForgotten("w", "run"), VideoForgotten("v", "others")):
        assert unfolded([*lines, forgotten]) == [*unfolded(lines), forgotten]


def test_parts_are_those_of_the_files_that_were_made_again() -> None:
    under = OutputFile("webm", "/b.webm", 10, 40)  # by the same settings, under another name
    lines = [*FINISHED, VideoDone("v", "run", (under,)), *redone("redo", redo(1, 3))]
    entries = unfolded([*lines, VideoDone("v", "run", (under,))])
    assert parts(entries, "run", "/b.webm") == ()
    assert parts(entries, "run", "/a.webm") == (redo(1, 3),)
