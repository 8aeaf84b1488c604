"""A chain that cannot work is refused before anything is read, by `config check` too."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.plan.layers import require_layers
from orchestrator.plan.per_file import require_sense
from orchestrator.settings.settings import load_settings
from pipeline.contract import VideoSettings
from pipeline.deliverables.formats import FORMATS
from pipeline.errors import SettingsError
from tests.packages import install, installed

ROWS = """
from pipeline.stages.catalogue import StageRow
NEEDY = StageRow("needy", "their_stage:make", needs=frozenset({"rgb", "depth"}))
"""


def test_the_built_in_chain_gives_every_format_what_it_needs() -> None:
    require_layers(VideoSettings(deliverables=tuple(FORMATS.names())))


def test_a_stage_whose_layer_nobody_gives_is_one_line(tmp_path: Path) -> None:
    entries = {"needy": "their_rows:NEEDY"}
    with installed(install(tmp_path, "needy", entries, "vrmatte.stages", their_rows=ROWS)):
        settings = load_settings(None, {"processing": {"stages": ["needy"]}})
        with pytest.raises(SettingsError, match="'needy' needs depth, which no stage before it"):
            require_sense(settings)
    with pytest.raises(SettingsError, match="no stage named 'needy'"):
        require_sense(settings)
