"""Runs one step in a process of its own, and writes down each result as soon as it is there."""

from __future__ import annotations

import json
import math
import sys
import traceback
from dataclasses import asdict, replace
from pathlib import Path

from pydantic import TypeAdapter

from orchestrator.gpu_check.results import Result
from orchestrator.gpu_check.site import Run, Site, Tell
from pipeline.contract.nvenc_ways import named

#: The last line of a file of results.
DONE = "done"


def run(run_step: Run, site: Site, results: Path) -> None:
    """Run a step; an exception is one more result."""
    with results.open("w", encoding="utf-8") as file:

        def tell(result: Result) -> None:
            figures = {name: x for name, x in result.figures.items() if math.isfinite(x)}
            file.write(json.dumps(asdict(replace(result, figures=figures))) + "\n")
            file.flush()

        try:
            run_step(site, tell)
        except Exception as error:  # the boundary of a step
            said = traceback.format_exc()
            sys.stderr.write(said)
            first = (str(error).splitlines() or [""])[0]
            words = f"{type(error).__name__}: {first}"
            tell(Result("the step", "no error", words, "FAILED", said=said))
        file.write(f"{json.dumps(DONE)}\n")


def read(results: Path) -> tuple[list[Result], bool]:
    """What a step has written so far, and whether it came to its end."""
    found: list[Result] = []
    try:
        lines = results.read_text(encoding="utf-8").splitlines()
    except OSError:
        return found, False
    adapter = TypeAdapter(Result)
    for text in lines:
        try:
            value = json.loads(text)
        except ValueError:  # it was ended within the line
            break
        if value == DONE:
            return found, True
        found.append(adapter.validate_python(value))
    return found, False


def main(place: str, site: str, results: str) -> int:
    """``MODULE:ATTRIBUTE SITE RESULTS``: the site as JSON."""

    def run_step(site: Site, tell: Tell) -> None:
        step: Run = named(place)  # what cannot be loaded fails as a step does
        step(site, tell)

    run(run_step, TypeAdapter(Site).validate_json(site), Path(results))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
