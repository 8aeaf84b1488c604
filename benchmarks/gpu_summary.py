"""Summarises what `deploy/gpu_check.sh` found on one page: decided, measured, not right.

    python benchmarks/gpu_summary.py OUT

The exit status is 1 where something is not right or was not found out.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from pydantic import TypeAdapter

from orchestrator.bench.result import Bench

#: What `tests/gpu/test_lanes.py` prints.
_DECIDED = re.compile(r"(?:RVM as a CUDA graph|NVENC from the GPU's memory|NVENC, ).*")
_BENCHES = (
    "rvm-4k",
    "rvm-8k",
    "chroma-4k",
    "chroma-8k",
    "green-auto",
    "green-pyav",
    "green-ffmpeg",
)
_MORE = ("eager-4k", "eager-8k", "vram6")
_VRAM_LIMIT = 6e9


def lines(out: Path) -> tuple[list[str], bool]:
    """The page, and whether all is right."""
    page: list[str] = []
    right = True

    def decide(what: str, found: bool | None, figure: str) -> None:
        nonlocal right
        right &= found is True
        page.append(f"{ {True: 'yes', False: 'NO', None: 'not known'}[found]:10}{what}: {figure}")

    decide(*_gates(out / "gates.json"))
    decide(*_nvenc(out / "doctor.txt"))
    tests = out / "tests.txt"
    said = tests.read_text(encoding="utf-8", errors="replace") if tests.exists() else ""
    last = (said.strip().splitlines() or ["no tests were run"])[-1]
    passed = "passed" in last and "failed" not in last and "error" not in last
    decide("tests that need a GPU pass", passed, last.strip("= "))
    page += [f"{'':10}{line}" for line in _DECIDED.findall(said)]
    for name in (*_BENCHES, *_MORE):
        path = out / f"{name}.json"
        if not path.exists():
            decide(f"bench {name}", None, "no result")
            continue
        bench = TypeAdapter(Bench).validate_json(path.read_bytes())
        vram = bench.whole.peak_vram_bytes or 0
        figure = f"{bench.frames_per_second:.2f} frames/s, {vram / 1e9:.2f} GB of VRAM"
        page.append(f"{'':10}bench {name}: {figure}, {bench.alone.decoder}")
        if name == "vram6":
            decide("8K with limits.vram_gb: 6", 0 < vram <= _VRAM_LIMIT, f"{vram / 1e9:.2f} GB")
    for name in ("webm", "greenscreen"):
        path = out / f"converter-{name}.json"
        if not path.exists():
            decide(f"faster than RVM's converter ({name})", None, "no result")
            continue
        rounds = json.loads(path.read_text(encoding="utf-8"))
        # Seconds of the whole command, and frames: see benchmarks/vs_rvm_converter.py.
        rates = {who: max(r[3] / r[0] for r in found) for who, found in rounds.items()}
        ratio = rates["ours"] / rates["converter"]
        decide(f"faster than RVM's converter ({name})", ratio > 1, f"{ratio:.2f} times")
    return page, right


def _nvenc(path: Path) -> tuple[str, bool | None, str]:
    """Whether NVENC works where the card has it, in the doctor's words."""
    what = "NVENC works, or this card has none"
    try:
        said = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return what, None, "no result"
    lines = [
        " ".join(line.split()) for line in said if re.match(r" *(ok|warning|broken) +NVENC  ", line)
    ]
    if not lines:
        return what, None, "the doctor said nothing of it"
    right = all(line.startswith("ok") or "this GPU has none" in line for line in lines)
    return what, right, "; ".join(lines)


def _gates(path: Path) -> tuple[str, bool | None, str]:
    """Whether gates 1 to 4 passed, or which check failed first."""
    what = "gates 1 to 4 pass"
    try:
        results = json.loads(path.read_text(encoding="utf-8"))["results"]
    except (OSError, ValueError, LookupError):
        return what, None, "no result"
    failed = [r for r in results if r["status"] == "failed"]
    if failed:
        return what, False, f"gate {failed[0]['gate']}, {failed[0]['name']}: {failed[0]['said']}"
    skipped = [f"{r['name']} ({r['said']})" for r in results if r["status"] == "skipped"]
    through = max((r["gate"] for r in results), default=0)
    return what, through >= 4, f"skipped: {'; '.join(skipped) or 'nothing'}"


def main() -> int:
    page, right = lines(Path(sys.argv[1]))
    print(*page, sep="\n")
    print("all right" if right else "something is not right, or was not found out")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
