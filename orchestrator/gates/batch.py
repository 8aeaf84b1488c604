"""Gate 4: two workers at once make the same files as one, byte for byte."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from orchestrator.gates.checks import Check, CheckFailed, CheckSkipped
from orchestrator.gates.integration import read_report, require_done
from orchestrator.gates.real_run import RunEnd
from orchestrator.gates.site import Site

GATE = 4

_ADVICE = "start a run with --cpu-workers 2 or --gpus 0,1 and see its logs; then report it"


def checks(site: Site) -> Iterator[Check]:
    yield Check(GATE, "two workers on the CPU", partial(two_on_cpu, site))
    yield Check(GATE, "two GPUs", partial(two_gpus, site))


def two_on_cpu(site: Site) -> str:
    one, two = site.run_of_clips("none"), site.run_of_clips("none", 2)
    return as_one(one, two, len(site.clips))


def two_gpus(site: Site) -> str:
    gpus = site.around.gpus
    if len(gpus) < 2:
        raise CheckSkipped("no GPU" if not gpus else "one GPU only")
    if gpus[0].name != gpus[1].name:  # whose bits may differ
        raise CheckSkipped(f"two kinds of GPU: {gpus[0].name} and {gpus[1].name}")
    one = site.run_of_clips(str(gpus[0].number))
    two = site.run_of_clips(f"{gpus[0].number},{gpus[1].number}")
    return as_one(one, two, len(site.clips))


def as_one(one: RunEnd, two: RunEnd, videos: int) -> str:
    """Raises CheckFailed unless both runs are done, by all their workers, with equal files."""
    require_done(one, videos)
    said = require_done(two, videos)
    workers = read_report(two.out)["workers"]
    faults = sum(worker["faults"] for worker in workers)
    if len(workers) != 2 or faults or any(worker["lives"] != 1 for worker in workers):
        raise CheckFailed(
            f"{len(workers)} workers with {faults} faults"
            f" and {sum(worker['lives'] for worker in workers)} lives instead of two of each",
            _ADVICE,
        )
    segments = _segments_of_workers(two.out)
    if len(segments) != 2 or not all(segments.values()):
        told = ", ".join(f"{name}: {count}" for name, count in sorted(segments.items()))
        raise CheckFailed(f"one of the workers made no segment ({told})", _ADVICE)
    if (alone := _digests(one.out)) != (together := _digests(two.out)):
        other = [name for name in alone if alone[name] != together.get(name)]
        raise CheckFailed(
            f"two workers make other files than one: {', '.join(other) or 'further ones'}", _ADVICE
        )
    return f"{said}, by both, equal to one worker's byte for byte"


def _segments_of_workers(out: Path) -> dict[str, int]:
    """Segments that each worker made, by its log."""
    counts = {}
    for path in (out / ".vrmatte/logs").glob("[cg]pu*.jsonl"):
        events = [
            json.loads(line).get("event") for line in path.read_text(encoding="utf-8").splitlines()
        ]
        counts[path.stem] = events.count("segment_done")
    return counts


def _digests(out: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.glob("*.webm")}
