"""Who owns what lies in a local folder: the living keep theirs, of the dead nothing is left."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pipeline.errors import DiskError
from workers import local_folder
from workers.local_folder import claim, sweep

#: A life that has a segment in hand and is killed with it.
KILLED = """
import os, signal, sys
from pathlib import Path
from workers.local_folder import claim
own = claim(Path(sys.argv[1]), 3, 7)
(own.path / "segment").mkdir()
(own.path / "segment" / ".webm-000000.webm.part").write_bytes(b"half")
print(own.path, flush=True)
if sys.argv[2:]:
    input()
os.kill(os.getpid(), signal.SIGKILL)
"""


def life(folder: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", KILLED, str(folder), *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_the_dead_leave_nothing_and_the_living_keep_theirs(tmp_path: Path) -> None:
    with life(tmp_path) as dead, life(tmp_path, "lives") as living:
        assert dead.stdout is not None
        assert living.stdout is not None
        left, kept = Path(dead.stdout.readline().strip()), Path(living.stdout.readline().strip())
        assert dead.wait() == -signal.SIGKILL
        assert "-w3-7-" in left.name
        assert sorted(tmp_path.iterdir()) == sorted([left, kept])
        assert sweep(tmp_path) == [left.name]
        assert list(tmp_path.iterdir()) == [kept]
        assert (kept / "segment" / ".webm-000000.webm.part").read_bytes() == b"half"
        living.communicate("\n")
    assert sweep(tmp_path) == [kept.name]
    assert list(tmp_path.iterdir()) == []


def test_a_life_that_ends_well_takes_its_folder_with_it(tmp_path: Path) -> None:
    own = claim(tmp_path, 0, 1)
    (own.path / "draft").mkdir()
    (own.path / "draft" / "a.part").touch()
    own.remove()
    assert list(tmp_path.iterdir()) == []


def test_nothing_of_somebody_elses_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other files, a link by such a name, and what another machine left on a common disk."""
    (tmp_path / "vrmatte-of-mine").mkdir()
    (tmp_path / "film.mp4").write_bytes(b"film")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "lock").touch()
    name = local_folder._name(0, 1)
    (tmp_path / name).symlink_to(elsewhere)
    linked_lock = tmp_path / local_folder._name(0, 2)
    linked_lock.mkdir()
    (linked_lock / "lock").symlink_to(elsewhere / "lock")
    without_lock = tmp_path / local_folder._name(0, 3)
    without_lock.mkdir()
    (without_lock / "notes.txt").touch()
    with monkeypatch.context() as patch:
        patch.setattr(local_folder, "_host", lambda: "other")
        patch.setattr(local_folder, "_boot", lambda: "0badcafe")
        os.close(claim(tmp_path, 0, 1)._lock)  # it has ended, but who could tell from here
    before = sorted(tmp_path.rglob("*"))
    assert sweep(tmp_path) == []
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("same", ["_host", "_boot"])
def test_a_machine_is_known_by_its_name_or_its_kernel(
    same: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a reboot it is another kernel's; a new container on it has another name."""
    other = {"_host": "_boot", "_boot": "_host"}[same]
    with monkeypatch.context() as patch:
        patch.setattr(local_folder, other, lambda: "0badcafe")
        left = claim(tmp_path, 0, 1)
    os.close(left._lock)
    assert sweep(tmp_path) == [left.path.name]


def test_kernels_that_do_not_tell_are_not_taken_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_folder, "_BOOT_ID", tmp_path / "missing")
    assert local_folder._is_of_this_machine(local_folder._name(0, 1))
    monkeypatch.setattr(local_folder, "_host", lambda: "other")
    assert not local_folder._is_of_this_machine("vrmatte-here-00000000-w0-1-0123abcd")


def test_whoever_ended_before_the_lock_leaves_an_empty_folder_at_most(tmp_path: Path) -> None:
    empty = tmp_path / local_folder._name(0, 1)
    empty.mkdir()
    assert sweep(tmp_path) == [empty.name]
    assert list(tmp_path.iterdir()) == []


def test_many_lives_begin_and_sweep_at_once(tmp_path: Path) -> None:
    wrong: list[str] = []

    def live(worker: int) -> None:
        for number in range(25):
            sweep(tmp_path)
            own = claim(tmp_path, worker, number)
            (own.path / "draft").write_bytes(b"mine")
            sweep(tmp_path)
            if (own.path / "draft").read_bytes() != b"mine":
                wrong.append(own.path.name)
            own.remove()

    threads = [threading.Thread(target=live, args=(worker,)) for worker in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_told_and_not_made(tmp_path: Path) -> None:
    missing = tmp_path / "nvme"
    with pytest.raises(DiskError, match=f"the local folder {missing}, or what .* is gone"):
        claim(missing, 0, 1)
    assert sweep(missing) == []
    assert not missing.exists()


def test_a_disk_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(DiskError, match=f"cannot use the local folder {tmp_path}: No locks"):
        claim(tmp_path, 0, 1)
    assert list(tmp_path.iterdir()) == []
