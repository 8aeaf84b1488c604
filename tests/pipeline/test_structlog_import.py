"""No process that logs, and shows nothing on a terminal, loads rich."""

from __future__ import annotations

import subprocess
import sys

import pytest


def said(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout.strip()


@pytest.mark.slow
@pytest.mark.parametrize("module", ["workers.gpu_worker", "orchestrator.report.keeper"])
def test_rich_is_not_loaded_for_structlog(module: str) -> None:
    assert said(
        f"import sys, {module}; print('structlog' in sys.modules, 'rich' in sys.modules)"
    ) == ("True False")


@pytest.mark.slow
def test_rich_can_be_had_afterwards() -> None:
    program = "import pipeline.structlog_import, rich.console; print(rich.console.Console.__name__)"
    assert said(program) == "Console"
