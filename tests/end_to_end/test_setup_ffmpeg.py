"""Which FFmpeg `deploy/setup.sh` gives TorchCodec: its function, with doubles of what it calls."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

SETUP = Path(__file__).parents[2] / "deploy/setup.sh"

DOUBLES = """
system={system} linked=no pyav={pyav} venv=x
say() {{ :; }}
fail() {{ echo failed; exit 1; }}
apt_install() {{ echo apt; system=old; }}
link_pyav_to_torchcodec() {{ echo linked; linked=$pyav; }}
torchcodec_works() {{ [[ $linked == yes || $system != none ]]; }}
torchcodec_reaches_nvenc() {{ [[ $linked == yes || $system == new ]]; }}
id() {{ echo {user}; }}
set -euo pipefail
"""


def calls(system: str, pyav: str = "yes", user: int = 0) -> list[str]:
    function = re.search(r"^provide_ffmpeg\(\) \{$.*?^\}$", SETUP.read_text(), re.M | re.S)
    assert function is not None
    script = DOUBLES.format(system=system, pyav=pyav, user=user) + function[0] + "\nprovide_ffmpeg"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize("user", [0, 1000])
def test_pyavs_come_first_where_the_systems_are_too_old_for_nvenc(user: int) -> None:
    assert calls("new", user=user) == []
    assert calls("old", user=user) == ["linked"]
    assert calls("none", user=user) == ["linked"]


def test_the_systems_are_better_than_none() -> None:
    assert calls("old", pyav="no") == ["linked"]
    assert calls("none", pyav="no") == ["linked", "apt"]
    assert calls("none", pyav="no", user=1000) == ["linked", "failed"]
