"""The view fits its terminal, whatever its size, and says what each worker does."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console
from rich.text import Text

from orchestrator.commands.ascii_console import AsciiConsole, asked_for
from orchestrator.fleet.snapshot import WorkerState
from orchestrator.watch.device_load import DeviceLoad
from orchestrator.watch.standing import Standing
from orchestrator.watch.terminal_view import doing, lanes, lanes_form, to_go, view
from tests.orchestrator.snapshots import running, snapshot, video, worker
from tests.orchestrator.watch.test_standing import standing

GPU = DeviceLoad(0, 0, "NVIDIA L4", 0.93, 0.77, None, 0.41, 71.0, 0.25, 3 << 30)
LONG = "[bold]a rather long name_LR_180.mp4"


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that can do everything, whatever the one is in which the tests run."""
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


def a_run(*workers: WorkerState, load: tuple[DeviceLoad, ...] = (GPU,)) -> Standing:
    return replace(
        standing(),
        snapshot=snapshot(0, (video(LONG, frames_done=60),), *workers),
        to_go_s=754.0,
        worker_fps={each.id: 12.34 for each in workers},
        load=load,
        events=tuple(f"18:02:{second} an event of some length " * 3 for second in range(10, 15)),
    )


def drawn(what: Standing, width: int, height: int = 30, *, plain: bool = False) -> list[str]:
    stream = io.StringIO()
    console = Console(
        file=stream, width=width, height=height, force_terminal=True, color_system="standard"
    )
    console.print(view(what, width, height, plain=plain))
    return Text.from_ansi(stream.getvalue()).plain.splitlines()


def four(load: tuple[DeviceLoad, ...] = (GPU,)) -> Standing:
    return a_run(
        worker(0, tasks=(running(0, 30), running(1))),
        worker(1, status="starting"),
        worker(2, status="retired"),
        worker(3, tasks=(running(None),)),
        load=load,
    )


@pytest.mark.parametrize("width", [20, 40, 64, 80, 120, 200])
@pytest.mark.parametrize("height", [3, 8, 30])
def test_the_view_fits_its_terminal(width: int, height: int) -> None:
    on_cpu = tuple(DeviceLoad(n, cpu=0.5, rss_bytes=10**9) for n in range(4))
    for what in (four(), four(()), four(on_cpu)):
        lines = drawn(what, width, height)
        assert len(lines) <= max(height, 5)
        assert all(len(line) <= width for line in lines)


def test_at_80_columns_every_figure_of_a_gpu_is_there() -> None:
    lines = drawn(four(), 80)
    heads = ["Worker", "Video", "Lanes", "fps", "GPU", "VRAM", "DEC", "ENC", "°C"]
    assert lines[0].split() == heads
    assert lines[1].startswith("0 GPU 0  [bold]a rather")
    assert lines[1].split()[-8:] == ["50%", "0%", "12.3", "93%", "41%", "77%", "?", "71"]
    assert "loads the model" in lines[2]
    assert "given up" in lines[3]
    assert "join -" in lines[4]
    assert lines[5].endswith(" 25 %, about 13 min to go")
    assert lines[6].startswith("60 of 240 frames, 0 of 1 video, 3.0 frames/s, 4:05 so far")
    assert len(lines) == 7 + 5


def test_at_200_columns_lanes_are_words_and_devices_have_names() -> None:
    lines = drawn(four(), 200)
    assert "NVIDIA L4 (cuda:0)" in lines[1]
    assert "1: 50 %, 2: begins" in lines[1]
    assert lines[1].split()[-3:] == ["25%", "3.2", "GB"]


def test_a_worker_on_the_cpu_shows_its_share_and_memory() -> None:
    [head, row, *_] = drawn(a_run(worker(0), load=(DeviceLoad(0, cpu=0.5, rss_bytes=10**9),)), 80)
    assert head.split()[-3:] == ["fps", "CPU", "RAM"]
    assert row.startswith("0 CPU ")
    assert "waits" in row
    assert row.endswith("50%  1.0 GB")


def test_a_worker_that_nobody_has_needed_is_not_called_down() -> None:
    down = worker(status="down")
    assert doing(replace(down, life=0), {}) == "not started"
    assert doing(replace(down, life=1), {}) == "ended"


def test_more_workers_than_lines() -> None:
    lines = drawn(a_run(*(worker(number) for number in range(40))), 80, 12)
    assert len(lines) <= 12
    assert any(line.startswith("and 33 workers more") for line in lines)
    assert any("to go" in line for line in lines)


def test_lanes_take_the_longest_form_that_fits_all_workers() -> None:
    one = worker(tasks=(running(2, 30), running(3), running(None)))
    assert lanes(one, "words") == "3: 50 %, 4: begins, joining"
    assert lanes(one, "percent") == "50% 0% join"
    assert lanes(one, "marks") == "▅▁j"
    assert lanes(one, "tenths") == "40j"
    assert [lanes_form([one], room) for room in (30, 15, 5)] == ["words", "percent", "marks"]
    assert lanes_form([one], 5, plain=True) == "tenths"
    assert lanes(replace(one, lanes=4), "marks") == "▅▁j--"


def test_a_terminal_that_knows_ascii_only_gets_nothing_else() -> None:
    many = a_run(replace(worker(tasks=tuple(running(n, 30) for n in range(8))), lanes=8))
    for width in (40, 80, 200):
        stream = io.StringIO()
        console = AsciiConsole(file=stream, width=width, force_terminal=True)
        plain = not console.encoding.startswith("utf")
        console.print(view(many, width, 30, plain=plain))
        with console.status("looking for the model"):
            pass
        assert stream.getvalue().isascii()


@pytest.mark.parametrize(
    ("locale", "plain"),
    [
        ({}, False),  # as in a bare pod: nobody has chosen
        ({"LANG": "C"}, True),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, True),  # as Python makes it of LANG=C
        ({"LANG": "C.UTF-8"}, False),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "POSIX"}, True),
        ({"LANG": "C", "LC_ALL": "de_DE.UTF-8"}, False),
    ],
)
def test_whoever_chooses_the_plain_locale_gets_ascii(locale: dict[str, str], plain: bool) -> None:
    assert asked_for(locale) is plain


def test_what_is_to_go_in_words() -> None:
    assert to_go(replace(standing(), to_go_s=42.0)) == "about 40 s to go"
    assert to_go(replace(standing(), phase="starting")) == "starting"
    assert to_go(standing()) == "time to go not known yet"
    assert to_go(replace(standing(), phase="stopping", to_go_s=3.0)) == "stopping"
