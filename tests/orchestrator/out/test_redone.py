"""A journal with redos reads as one of videos that were finished that way."""

from __future__ import annotations

from orchestrator.fleet.journal_entries import (
    Entry,
    Redo,
    RedoStarted,
    SegmentCommitted,
    VideoDone,
    VideoSetAside,
)
from orchestrator.out.redone import redone_by_video, unfinished_redos, unfolded
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


def test_a_part_replaces_its_segments_and_the_files() -> None:
    entries = unfolded([*FINISHED, *redone("redo", redo(1, 3))])
    assert told(entries, "run") == {0: "old", 1: "redo", 2: "redo", 3: "old"}
    assert done(entries, "run") == VideoDone("v", "run", (NEW,), (redo(1, 3),))
    assert done(entries, "other") is None
    assert redone_by_video(entries) == {"v": (redo(1, 3),)}
    assert unfinished_redos(entries) == {}


def test_all_of_a_video_counts_as_a_run_with_these_settings_too() -> None:
    entries = unfolded([*FINISHED, *redone("redo", redo(0, 4))])
    for settings in ("run", "other"):
        assert told(entries, settings) == dict.fromkeys(range(4), "redo")
    assert done(entries, "other") == VideoDone("v", "other", (NEW,))


def test_a_part_that_lies_in_a_later_one_is_not_told_of_any_more() -> None:
    parts = [*redone("a", redo(1, 2)), *redone("b", redo(3, 4)), *redone("c", redo(0, 3))]
    assert redone_by_video(unfolded([*FINISHED, *parts])) == {"v": (redo(3, 4), redo(0, 3))}
    assert redone_by_video(unfolded([*FINISHED, *parts, FINISHED[-1]])) == {}


def test_a_redo_that_is_not_finished_changes_nothing() -> None:
    begun = redone("redo", redo(1, 3))[:-1]
    entries = unfolded([*FINISHED, *begun])
    assert entries == [*FINISHED, *begun]
    assert unfinished_redos(entries) == {"v": redo(1, 3)}
    failed = VideoSetAside("v", "redo", ErrorRecord("encode", "x"))
    assert unfinished_redos([*entries, failed]) == {}
