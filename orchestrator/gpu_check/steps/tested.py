"""Steps `lanes`, `kernels` and `all-tests`: the tests that need a GPU, each one a result."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.gpu_check.cards import without_engine
from orchestrator.gpu_check.results import Result, passed
from orchestrator.gpu_check.site import ROOT, Site, Tell
from pipeline.files.child import own_environment, tied

if TYPE_CHECKING:
    import pytest


def lanes(site: Site, tell: Tell) -> None:
    """See `orchestrator.gpu_check.site.Run`."""
    run_tests(site, tell, ["tests/gpu/test_lanes.py"])


def kernels(site: Site, tell: Tell) -> None:
    """See `orchestrator.gpu_check.site.Run`."""
    run_tests(site, tell, ["tests/gpu/test_kernels.py"])
    tell(_counts())


def everything(site: Site, tell: Tell) -> None:
    """See `orchestrator.gpu_check.site.Run`."""
    run_tests(site, tell, ["tests/gpu"])


def run_tests(site: Site, tell: Tell, words: Sequence[str], root: Path = ROOT) -> None:
    """Run tests in this process. In a rehearsal they are found, and skip for want of a GPU."""
    import pytest

    os.environ["VRMATTE_REQUIRE_GPU"] = "0" if site.rehearsal else "1"
    seen = Seen(site, tell)
    status = pytest.main(
        ["-q", "-rA", "-p", "no:cacheprovider", f"--rootdir={root}", *words], plugins=[seen]
    )
    if site.rehearsal:
        found = f"{seen.skipped} skipped, {seen.others} not"
        right = seen.skipped > 0 and seen.others == 0
        tell(passed("tests", "found, and skipped without a GPU", found, right))
    elif status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        tell(passed("tests", "they run", f"pytest ended with {status!r}", False))


class Seen:
    """A plugin of pytest's that tells each test's outcome as a result."""

    def __init__(self, site: Site, tell: Tell) -> None:
        self._site, self._tell = site, tell
        self.skipped = self.others = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and report.passed:
            return
        self.skipped += report.skipped
        self.others += not report.skipped
        if not self._site.rehearsal or not report.skipped:
            self._tell(self._result(report))

    def _result(self, report: pytest.TestReport) -> Result:
        what = report.nodeid.rpartition("::")[2]
        if report.passed:
            said = report.capstdout.strip()
            return Result(what, "passes", " ".join(["passed", *said.split()]), "ok", said=said)
        reason = _reason(report)
        if report.skipped and "nvenc" in what:
            has = self._site.encodes("hevc")
            return without_engine(what, self._site.engines, has, reason)
        outcome = "skipped" if report.skipped else "failed"
        return Result(what, "passes", f"{outcome}: {reason}", "FAILED", said=report.longreprtext)


def _reason(report: pytest.TestReport) -> str:
    """One line."""
    found = report.longrepr
    if isinstance(found, tuple):  # of a skip: file, line, reason
        return str(found[2])
    crash = getattr(found, "reprcrash", None)
    text = str(crash.message) if crash is not None else report.longreprtext
    return (text.splitlines() or ["no reason"])[0]


def _counts() -> Result:
    """What is predicted of a frame, which `ceiling` measures."""
    command = [sys.executable, "-P", str(ROOT / "benchmarks/launches.py")]
    done = subprocess.run(
        tied(command), capture_output=True, text=True, check=False, env=own_environment()
    )
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("all of webm")]
    if done.returncode != 0 or len(lines) != 1:
        said = done.stderr.strip()
        last = (said.splitlines() or ["no line of webm"])[-1]
        return Result("counts of launches", "counted", last, "FAILED", said=said)
    read, written, launches, waits, _ = map(float, lines[0][3:])
    found = f"{read + written:.2f} GB, {launches:.0f} launches, {waits:g} waits a frame of 8K webm"
    figures = {"gigabytes": read + written, "launches": launches, "waits": waits}
    return Result("counts of launches", "counted", found, "ok", figures, done.stdout)
