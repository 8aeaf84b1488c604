"""A folder is made by one process for all; one that is not whole is never handed out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.made_once import MadeOnce

#: Asks for a folder, and makes it when a line comes.
ASK = """
import sys
from pathlib import Path
from tests.made_once import MadeOnce

def make(folder):
    (folder / "content").write_text("half")
    print("making", flush=True)
    sys.stdin.readline()
    (folder / "content").write_text("whole")

print("asking", flush=True)
print(MadeOnce(Path(sys.argv[1]))("thing", 1, make), flush=True)
"""


def whole(folder: Path) -> None:
    (folder / "content").write_text("whole")


def never(folder: Path) -> None:
    pytest.fail(f"{folder} is made again")


class Asker:
    """A process that asks for the folder."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def says(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def waits(self) -> bool:
        """Whether it has nothing to say for a while."""
        try:
            self._process.wait(0.3)
        except subprocess.TimeoutExpired:
            return True
        return False

    def go_on(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        self._process.kill()


@contextmanager
def asker(base: Path) -> Iterator[Asker]:
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", ASK, str(base)]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield Asker(process)
        finally:
            process.kill()


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Asker, Asker]]:
    """One that makes the folder, and one that has asked for it meanwhile."""
    with ExitStack() as stack:
        maker = stack.enter_context(asker(tmp_path))
        assert [maker.says(), maker.says()] == ["asking", "making"]
        other = stack.enter_context(asker(tmp_path))
        assert other.says() == "asking"
        assert other.waits()
        yield maker, other


def test_of_two_that_ask_at_once_one_makes(two: tuple[Asker, Asker], tmp_path: Path) -> None:
    maker, other = two
    maker.go_on()
    made = maker.says()
    assert other.says() == made  # and not "making"
    assert (Path(made) / "content").read_text() == "whole"
    assert MadeOnce(tmp_path)("thing", 1, never) == Path(made)


def test_a_maker_that_is_killed_leaves_it_to_the_one_that_waits(two: tuple[Asker, Asker]) -> None:
    maker, other = two
    maker.kill()
    assert other.says() == "making"
    other.go_on()
    assert (Path(other.says()) / "content").read_text() == "whole"


def test_a_maker_that_fails_leaves_it_to_the_next(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise OSError("no room left")

    made_once = MadeOnce(tmp_path)
    with pytest.raises(OSError, match="no room left"):
        made_once("thing", 1, fail)
    made = made_once("thing", 1, whole)
    assert [path.name for path in made.iterdir()] == ["content"]


def test_another_thing_has_a_folder_of_its_own(tmp_path: Path) -> None:
    made_once = MadeOnce(tmp_path)
    folders = [made_once("thing", 1, whole), made_once("thing", 2, whole)]
    folders.append(made_once("clip", 1, whole))
    assert len(set(folders)) == 3


CONFTEST = "from tests.conftest import made_once\n"
PROBE = """
def test_asks(made_once, tmp_path_factory):
    made_once("thing", 1, lambda folder: print("made by", tmp_path_factory.getbasetemp().name))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "processes", [(), ("--dist", "each", "--tx", "2*popen")], ids=["one", "two"]
)
def test_all_processes_of_a_session_share(processes: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_probe.py").write_text(PROBE)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-rP", "-p", "no:cacheprovider", *processes),
            *("--rootdir", str(tmp_path), "--basetemp", str(tmp_path / "base"), str(tmp_path)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("made by") == 1
    assert f"{2 if processes else 1} passed" in done.stdout
