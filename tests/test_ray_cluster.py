"""The start of a cluster when it fails, with scripts in place of Ray."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.ray_cluster import ATTEMPTS, ClusterError, RayCluster, ray_cluster
from tests.runs import family

#: Answers as the true one does; the head's "address" is the folder that Ray would use.
SERVES = """
import os, sys
print("cluster:", os.environ["RAY_TMPDIR"], flush=True)
for line in sys.stdin:
    print("noise\\ncluster: done", flush=True)
    if line.strip() in ("end", CRASH):
        break
"""

#: Leaves a process behind that is in no group or session of its parent's.
DIES = """
import subprocess, sys
subprocess.Popen(["sleep", "600"], start_new_session=True)
sys.exit("no port is free")
"""

BUSY_AT_FIRST = """
import pathlib
tried = pathlib.Path(TRIED)
if not tried.exists():
    tried.touch()
    raise SystemExit("too busy")
"""


def script(text: str, crash: str = "") -> tuple[str, ...]:
    return (sys.executable, "-c", text.replace("CRASH", repr(crash)))


def open_files() -> set[str]:
    """By the kernel's names; garbage of other tests may be closed meanwhile."""
    found = set()
    for file in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the descriptor of this very listing
            found.add(str(file.readlink()))
    return found


def test_a_cluster_that_dies_at_each_start_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    before = open_files()
    with (
        pytest.warns(UserWarning, match=r"start \d of 3: the cluster has ended") as warned,
        pytest.raises(ClusterError, match="the cluster has ended") as caught,
        ray_cluster(tmp_path, tmp_path, 1, script(DIES)),
    ):
        pass
    assert len(warned) == ATTEMPTS - 1
    assert str(caught.value).splitlines()[1:] == ["no port is free"]
    assert len(list(tmp_path.glob("cluster-*.log"))) == ATTEMPTS
    assert family(tmp_path) == []
    assert open_files() <= before


def test_a_start_that_fails_once_is_tried_again_with_a_warning(tmp_path: Path) -> None:
    tried = tmp_path / "tried"
    busy = script(BUSY_AT_FIRST.replace("TRIED", repr(str(tried))) + SERVES)
    with (
        pytest.warns(UserWarning, match="start 1 of 3: .*\ntoo busy"),
        ray_cluster(tmp_path, tmp_path, 2, busy) as cluster,
    ):
        assert cluster.address


def test_one_that_does_not_answer_is_ended(tmp_path: Path) -> None:
    silent = script("import sys\nsys.stderr.write('waiting for a node\\n')\nsys.stdin.read()")
    with pytest.raises(ClusterError, match=r"has not answered for 1 s(.|\n)*waiting for a node"):
        RayCluster(tmp_path, tmp_path / "log", 0, silent, answer_s=1)
    assert family(tmp_path) == []


def test_one_that_dies_later_fails_the_question_not_the_next_test(tmp_path: Path) -> None:
    before = open_files()
    cluster = RayCluster(tmp_path, tmp_path / "log", 0, script(SERVES, crash="add"), answer_s=60)
    cluster.add()
    with pytest.raises(ClusterError, match="the cluster has ended"):
        cluster.add()
    cluster.kill_all()
    assert family(tmp_path) == []
    assert open_files() <= before


def test_its_files_lie_in_a_short_folder_of_its_own_that_is_gone_after_it(tmp_path: Path) -> None:
    with ray_cluster(tmp_path, tmp_path, 1, script(SERVES)) as cluster:
        folder = Path(cluster.address)
        assert folder == cluster.folder
        assert folder.is_dir()
        assert folder.parent == Path("/tmp")
        # A socket's path has at most 107 bytes.
        longest = "ray/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store.9"
        assert len(os.fsencode(folder / longest)) <= 107
    assert not folder.exists()
