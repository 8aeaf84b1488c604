"""Whatever a test leaves behind fails that test, and no other."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = """
from tests import leftovers
from tests.conftest import (
    module_leaves_nothing, pytest_exception_interact, pytest_runtest_teardown, test_leaves_nothing
)

leftovers.ENDS_WITHIN_S = 0.5
"""

CULPRITS = """
import gc, os, subprocess
import pytest

KEPT = []

def sleeper(seconds=600):
    return subprocess.Popen(["sleep", str(seconds)], stdout=subprocess.PIPE)

@pytest.fixture(scope="module")
def shared():
    with sleeper() as process:
        yield process
        process.kill()

@pytest.fixture(scope="module")
def lazy():
    started = []
    yield started
    for process in started:
        process.kill()
        process.communicate()

@pytest.fixture
def own():
    with sleeper() as process:
        yield process
        process.kill()

@pytest.fixture
def bad_setup():
    process = sleeper()
    raise RuntimeError("no luck")

def nobody():
    gc.collect()

def test_1_innocent_with_fixtures(shared, own): nobody()
def test_2_keeps_a_process(): KEPT.append(sleeper())
def test_3_innocent(): nobody()
def test_4_makes_a_cycle():
    process = sleeper(0)
    process.me = process
def test_5_innocent(): nobody()
def test_6_fails_and_holds_a_process():
    process = sleeper()
    assert not process
def test_7_innocent(shared): nobody()
def test_8_fails_to_set_up(bad_setup): pass
def test_9_innocent(): nobody()
def test_a_keeps_a_pipe(): KEPT.append(os.pipe())
def test_b_innocent(): nobody()
def test_c_leaves_one_that_ends_by_itself():
    KEPT.append(subprocess.Popen(["sleep", "0.1"]))
def test_e_makes_a_fixture_start_one(lazy): lazy.append(sleeper())
def test_f_innocent(lazy): assert len(lazy) == 1
def test_d_innocent():
    assert KEPT.pop().wait() == 0
"""

MODULE = """
import subprocess
import pytest

@pytest.fixture(scope="module")
def careless():
    yield subprocess.Popen(["sleep", "600"])

def test_m_has_careless_fixtures(careless): pass
"""


@pytest.mark.slow
def test_each_is_blamed_for_its_own(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_culprits.py").write_text(CULPRITS)
    (tmp_path / "test_module.py").write_text(MODULE)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider"),
            *("-p", "no:xdist", "-rA", "--rootdir", str(tmp_path), "-c", "/dev/null"),
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    told = re.findall(r"^(ERROR|FAILED|PASSED) .*::test_(\w)_", done.stdout, re.MULTILINE)
    blamed = {name for outcome, name in told if outcome != "PASSED"}
    assert blamed == set("2468am"), done.stdout
    assert {name for _, name in told} == set("123456789abcdefm")
    assert "test_2_keeps_a_process left behind; running: sleep 600; open: pipe:" in done.stdout
    assert "test_module.py left behind; running: sleep 600" in done.stdout
