"""The fleet schedules work and knows nothing of what the work is."""

from __future__ import annotations

from pathlib import Path

import pytest

import orchestrator.fleet

FILES = sorted(Path(orchestrator.fleet.__path__[0]).glob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_file_of_the_fleet_names_a_stage_or_a_finding(path: Path) -> None:
    text = path.read_text().lower()
    assert not [word for word in ("matte", "stereo", "mended", "flags", "judge") if word in text]
