"""Clips that many tests read, made once a session."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

# As in workers (`workers/launch.py`); must be there before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from tests.clips import ClipSpec, make_clip

# How long an example takes says more of the machine than of the law.
hypothesis.settings.register_profile("vrmatte", deadline=None)
hypothesis.settings.load_profile("vrmatte")


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Callable[[ClipSpec], Path]:
    """Makes a painted clip, or hands out the one made before for an equal spec."""
    folder = tmp_path_factory.mktemp("clips")
    made: dict[ClipSpec, Path] = {}

    def get(spec: ClipSpec) -> Path:
        if spec not in made:
            place = folder / str(len(made))
            place.mkdir()
            made[spec] = make_clip(place, spec)
        return made[spec]

    return get
