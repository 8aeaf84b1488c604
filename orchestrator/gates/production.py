"""Gate 5: a finished output folder: videos done, files unchanged, three read, scratch bounded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from orchestrator.doctor.trials import ReadTrial
from orchestrator.fleet.journal_entries import Entry, SegmentCommitted, VideoDone
from orchestrator.gates.checks import Check, CheckFailed
from orchestrator.gates.site import Site
from orchestrator.out.folder import OutFolder
from orchestrator.out.journal import read_entries
from orchestrator.out.room import gigabytes
from orchestrator.out.verification import finished_files, verified
from orchestrator.plan.kept_probes import read_info
from orchestrator.watch.status import standings
from orchestrator.words import counted, readable_size
from pipeline.contract import OutputFile, VideoInfo
from pipeline.deliverables.formats import FORMATS
from pipeline.text import printable

GATE = 5

DONE_SHARE = 0.95
SPOT_CHECKS = 3

#: All packets of a file are read; from a network disk with 20 MB/s.
_LEAST_DEADLINE_S, _SLOWEST_BYTES_PER_S = 120.0, 20e6

#: More than a packet of any codec of sound that outputs have.
_SOUND_SLACK_S = 0.1

#: Doubtful files are whole, and it is for a person to judge them.
_WHOLE = ("done", "doubtful")

_AGAIN = "run the same `vrmatte run` again: it makes what is missing"


@dataclass(frozen=True, slots=True)
class Finished:
    """An output folder: the record of its last run, and its journal."""

    out: OutFolder
    record: dict[str, Any]
    entries: Sequence[Entry]

    @classmethod
    def open(cls, path: Path) -> Finished:
        """Raises SettingsError: no run was started there; MachineError: its record is damaged."""
        out = OutFolder(path.absolute())
        return cls(out, out.read_run_file(), read_entries(out.journal))


def checks(site: Site) -> Iterator[Check]:
    assert site.out is not None
    finished = Finished.open(site.out)
    yield Check(GATE, "videos done", partial(enough_done, finished))
    yield Check(GATE, "files unchanged", partial(all_unchanged, finished))
    chosen = spot_checks(finished)
    for name, output in chosen:
        yield Check(GATE, f"spot check of {name}", partial(look_into, site, finished, output))
    if len(chosen) < SPOT_CHECKS:
        yield Check(GATE, "spot checks", partial(_few, len(chosen)))
    yield Check(GATE, "scratch", partial(scratch_in_bounds, finished))


def enough_done(finished: Finished) -> str:
    if finished.out.in_use():
        raise CheckFailed("a run is going on there", "wait until it is done")
    if finished.record.get("damaged"):
        raise CheckFailed(f"{finished.out.run_file} is damaged: videos are missing in it", _AGAIN)
    found = list(standings(finished.record, finished.entries))
    aside = finished.record.get("set_aside", [])
    done = sum(video.standing in _WHOLE for video in found)
    total = len(found) + len(aside)
    said = f"{done} of {counted(total, 'video')}"
    if total == 0 or done < DONE_SHARE * total:
        wrong = [f"{v.name}: {v.error or v.standing}" for v in found if v.standing not in _WHOLE]
        wrong += [f"{item['name']}: {item['reason']}" for item in aside]
        first = printable(wrong[0]) if wrong else "there are none"
        raise CheckFailed(f"{said} done, less than {DONE_SHARE:.0%}: {first}", _AGAIN)
    # Whatever the share: a run never leaves a file that is cut off or overwritten.
    for video in found:
        if video.standing == "output has changed":
            raise CheckFailed(
                f"the size of an output of {printable(video.name)} has changed since it was made",
                f"delete it, and {_AGAIN}",
            )
    doubtful = sum(video.standing == "doubtful" for video in found)
    return f"{said} done" + (f", {doubtful} of them doubtful" if doubtful else "")


def all_unchanged(finished: Finished) -> str:
    """Every finished file has the digest that it had when it was made."""
    found = list(verified(finished_files(finished.entries)))
    bad = [one for one in found if not one.is_good]
    said = f"{len(found) - len(bad)} of {counted(len(found), 'file')} as when they were made"
    if bad:
        first = f"{printable(Path(bad[0].output.path).name)} {bad[0].found}"
        raise CheckFailed(f"{said}: {first}", f"delete it, and {_AGAIN}")
    unknown = sum(one.found == "only its size is known" for one in found)
    return said + (f"; of {unknown} only the size is known" if unknown else "")


def spot_checks(finished: Finished) -> list[tuple[str, OutputFile]]:
    """Three outputs, by name and entry: the smallest, the largest and one between."""
    known = {(video["id"], video["settings"]): video["name"] for video in finished.record["videos"]}
    last = {
        (entry.video, entry.settings): entry
        for entry in finished.entries
        if isinstance(entry, VideoDone) and (entry.video, entry.settings) in known
    }
    outputs = sorted(
        (output for entry in last.values() for output in entry.outputs),
        key=lambda output: (output.size_bytes, output.path),
    )
    places = sorted({0, len(outputs) // 2, len(outputs) - 1} if outputs else set())
    return [(Path(outputs[k].path).name, outputs[k]) for k in places]


def _few(count: int) -> str:
    if count == 0:
        raise CheckFailed("no file is done", _AGAIN)
    return f"only {counted(count, 'file')} to check"


def look_into(site: Site, finished: Finished, output: OutputFile) -> str:
    """Decode an output's beginning, middle and end; check its frames, alpha and sound."""
    path = Path(output.path)
    if not path.is_file():
        raise CheckFailed(f"{printable(str(path))} is not there", _AGAIN)
    trial = ReadTrial(str(path), output.deliverable, whole=False)
    deadline_s = _LEAST_DEADLINE_S + output.size_bytes / _SLOWEST_BYTES_PER_S
    tried = site.try_on("cpu", trial, deadline_s)
    advice = f"delete it, and {_AGAIN}"
    if tried.outcome != "works":
        raise CheckFailed(f"{tried.outcome}: {tried.said}", advice)
    figures = tried.figures
    if figures["frames"] != output.num_frames:
        raise CheckFailed(f"{figures['frames']:.0f} frames instead of {output.num_frames}", advice)
    if figures["decoded"] == 0:
        raise CheckFailed("none of its frames decodes", advice)
    said = f"{output.num_frames} frames, {figures['decoded']:.0f} decoded"
    row = FORMATS[output.deliverable]
    if row.shows_alpha:
        if "alpha_mean" not in figures:
            raise CheckFailed("it has no alpha", advice)
        if figures["alpha_low"] == 1:
            raise CheckFailed("its alpha is 1 everywhere in every frame that was decoded", advice)
        said += f", alpha {figures['alpha_mean']:.2f} on average"
    if row.sound is None:
        return said
    return f"{said}, {_sound(finished, output, figures, advice)}"


def _sound(
    finished: Finished, output: OutputFile, figures: Mapping[str, float], advice: str
) -> str:
    tracks = figures["tracks"]
    said = counted(int(tracks), "track")
    info = _source(finished, output)
    if info is None:
        return f"{said} of sound (the source is no longer known)"
    all_kept = output.audio == "keep" and not output.notes
    if tracks > len(info.audio) or (all_kept and tracks != len(info.audio)):
        raise CheckFailed(f"{said} of sound, the source has {len(info.audio)}", advice)
    if tracks and output.num_frames == info.num_frames:  # not a range of it
        expected = min(info.audio[0].end_s, info.duration_s)
        if abs(figures["sound_end"] - expected) > 1 / info.frame_rate + _SOUND_SLACK_S:
            raise CheckFailed(
                f"its sound ends at {figures['sound_end']:.3f} s instead of {expected:.3f} s",
                advice,
            )
    return f"{said} of sound as in the source"


def _source(finished: Finished, output: OutputFile) -> VideoInfo | None:
    """The probe's result for the source of an output."""
    for video in finished.record["videos"]:
        if output.path in video["outputs"]:
            for path in (finished.out.state / "probed").glob(f"{video['id']}-v*.json"):
                if (info := read_info(path)) is not None:
                    return info
    return None


def scratch_in_bounds(finished: Finished) -> str:
    limit = gigabytes(finished.record["settings"]["limits"]["scratch_gb"])
    peak = peak_scratch_bytes(finished.entries)
    said = f"{readable_size(peak)} of {readable_size(limit)} at the most"
    if peak > limit:
        raise CheckFailed(
            f"waiting segments held {said}",
            "allow more (limits.scratch_gb), or let fewer videos wait (fewer workers)",
        )
    return said


def peak_scratch_bytes(entries: Sequence[Entry]) -> int:
    """The most bytes that committed segments held at a time, by the journal.

    A segment's files exist from its entry to its video's.
    """
    held: dict[tuple[str, str], dict[int, int]] = {}
    peak = 0
    for entry in entries:
        if isinstance(entry, SegmentCommitted):
            own = held.setdefault((entry.video, entry.settings), {})
            own[entry.segment] = sum(entry.sizes)
        elif isinstance(entry, VideoDone):
            held.pop((entry.video, entry.settings), None)
        peak = max(peak, sum(size for own in held.values() for size in own.values()))
    return peak
