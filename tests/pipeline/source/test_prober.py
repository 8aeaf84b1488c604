"""Many probes: each file has a fate of its own, in whatever company and order it is read."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from pipeline.contract import VideoInfo
from pipeline.errors import InputError, MachineError
from pipeline.source import probe
from pipeline.source.probe import Prober
from tests.clips import X264, ClipSpec

GetClip = Callable[[ClipSpec], Path]

# What a hostile file might do to the library that reads it, by the file's name. It is read as any
# other where it does no harm, and the number of the process that read it is its title.
LIBRARY = """
import os, sys
if sys.argv[0] == "-m" or "-m" in sys.orig_argv:
    from dataclasses import replace
    from pipeline.source import video_info as library
    real, seen = library.read_video, []
    def read(path, *rest):
        name = path.name
        if name.startswith("crash") or (name.startswith("grudge") and seen):
            os.abort()
        if name.startswith("hang"):
            open({never!r}).read()
        if name.startswith("bloat"):
            bytearray(7 << 30)
        if name.startswith("busy"):
            import resource
            resource.setrlimit(resource.RLIMIT_CPU, (1, resource.RLIM_INFINITY))
            while True: pass
        if name.startswith("babble"):
            os.write(1, b'{{"info": "nonsense"}}' * 1000)
        if name.startswith("draft"):
            open(f"{{rest[0].parent}}/.index.json.{{os.getpid()}}.part", "w").close()
            os.abort()
        if name.startswith("leak"):
            seen.append(bytearray(300 << 20))
        seen.append(name)
        return replace(real(path, *rest), title=str(os.getpid()))
    library.read_video = read
"""


@pytest.fixture
def never(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pipe that never says anything; a file whose name says so reads it."""
    folder, pipe = tmp_path / "library", tmp_path / "never"
    folder.mkdir()
    os.mkfifo(pipe)
    (folder / "sitecustomize.py").write_text(LIBRARY.format(never=str(pipe)))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return pipe


@pytest.fixture
def file(clip: GetClip, tmp_path: Path, never: Path) -> Callable[[str], Path]:
    content = clip(ClipSpec("small.mp4", X264, num_frames=3)).read_bytes()

    def make(name: str) -> Path:
        path = tmp_path / f"{name}.mp4"
        path.write_bytes(content)
        return path

    return make


@pytest.fixture
def prober() -> Iterator[Prober]:
    with Prober() as opened:
        yield opened


def probed(prober: Prober, path: Path, deadline_s: float = 60.0) -> VideoInfo | str:
    """What is found, or the one line that says why nothing was."""
    try:
        return prober(path, path.with_name(path.stem) / "index.json", deadline_s=deadline_s)
    except InputError as error:
        said = str(error)
        assert said.isprintable()
        assert "Traceback" not in said
        return said


def reader(found: VideoInfo | str) -> int:
    assert isinstance(found, VideoInfo)
    assert found.num_frames == 3
    return int(found.title)


def test_one_process_reads_many_files_but_not_endlessly(
    file: Callable[[str], Path], prober: Prober, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "_FILES_PER_READER", 3)
    readers = [reader(probed(prober, file(f"good{k}"))) for k in range(7)]
    assert readers == [readers[0]] * 3 + [readers[3]] * 3 + [readers[6]]
    assert len(set(readers)) == 3
    assert not psutil.pid_exists(readers[0])


def test_what_a_file_leaves_in_memory_ends_with_its_reader(
    file: Callable[[str], Path], prober: Prober
) -> None:
    first = reader(probed(prober, file("good")))
    assert reader(probed(prober, file("leak"))) == first
    assert reader(probed(prober, file("good again"))) != first


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("crash", "crashed (killed by SIGABRT)"),
        ("draft", "crashed (killed by SIGABRT)"),
        ("bloat", "takes more than 6 GiB"),
        ("busy", "crashed (killed by SIGXCPU)"),
    ],
)
def test_a_file_that_ends_its_reader_costs_only_itself(
    name: str, words: str, file: Callable[[str], Path], prober: Prober
) -> None:
    before = reader(probed(prober, file("good")))
    bad = file(name)
    said = probed(prober, bad)
    assert isinstance(said, str)
    assert words in said
    assert list(bad.with_name(name).iterdir()) == []
    assert reader(probed(prober, file("good again"))) != before
    assert not psutil.pid_exists(before)


def test_no_file_is_blamed_for_what_was_read_before_it(
    file: Callable[[str], Path], prober: Prober
) -> None:
    before = reader(probed(prober, file("good")))
    # It ends any process that has read another file, as a heap would that the other has spoiled.
    assert reader(probed(prober, file("grudge"))) != before


def test_what_a_library_prints_is_no_answer(file: Callable[[str], Path], prober: Prober) -> None:
    reader(probed(prober, file("babble")))


def test_a_file_that_hangs_costs_its_deadline_and_no_other_file(
    file: Callable[[str], Path], prober: Prober, never: Path
) -> None:
    hangs, others = file("hang"), [file(f"good{k}") for k in range(4)]
    with ThreadPoolExecutor(2) as pool:
        hanging = pool.submit(probed, prober, hangs, 5.0)
        # Opened for writing once it is opened for reading: by now the file is being read.
        with never.open("w"):
            assert len({reader(probed(prober, path)) for path in others}) == 1
            said = hanging.result()
    assert isinstance(said, str)
    assert "could not be read within 5 s" in said


def test_a_server_that_is_killed_is_replaced_and_its_files_are_read(
    file: Callable[[str], Path], prober: Prober, never: Path
) -> None:
    first = reader(probed(prober, file("good")))
    child = psutil.Process(first)
    server = child.parent()
    assert server is not None
    server.kill()
    # Until the kernel has killed the child, too, that reads what it is asked to.
    psutil.wait_procs([child], timeout=10)
    assert reader(probed(prober, file("good again"))) != first


def test_a_server_that_cannot_start_is_no_fault_of_the_file(
    file: Callable[[str], Path], prober: Prober, tmp_path: Path
) -> None:
    (tmp_path / "library/av.py").write_text("raise ImportError('no such library')")
    (tmp_path / "library/sitecustomize.py").unlink()
    path = file("good")
    with pytest.raises(MachineError, match=r"exit status 1.*no such library"):
        prober(path, tmp_path / "index.json")


def test_closing_ends_what_is_being_read(
    file: Callable[[str], Path], prober: Prober, never: Path
) -> None:
    paths = [file("hang"), file("hang2")]
    of_others = set(psutil.Process().children(recursive=True))
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(probed, prober, path) for path in paths]
        with never.open("w"):
            children = set(psutil.Process().children(recursive=True)) - of_others
            prober.close()
            assert all("the run was stopped" in str(each.result()) for each in waiting)
    # The server's children are reaped by whoever inherits them.
    _, left = psutil.wait_procs(children, timeout=10)
    assert children
    assert left == []


def test_a_suspended_server_does_not_hold_up_the_end(
    file: Callable[[str], Path], prober: Prober
) -> None:
    child = reader(probed(prober, file("good")))
    server = psutil.Process(child).parent()
    assert server is not None
    os.kill(server.pid, signal.SIGSTOP)
    prober.close()
    assert not server.is_running()
