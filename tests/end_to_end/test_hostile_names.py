"""Names that shells, ffmpeg, terminals and JSON could misread, through the real command line."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.text import printable
from tests.clips import X264, ClipSpec, read_frames, read_numbers
from tests.pipeline.canary import canary

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

GetClip = Callable[[ClipSpec], Path]

CLIP = ClipSpec("clip_LR.mp4", X264, num_frames=2, audio=("aac",))
REPOSITORY = Path(__file__).parents[2]

NAMES: tuple[bytes, ...] = tuple(
    name if isinstance(name, bytes) else name.encode()
    for name in (
        "-i_LR.mp4",
        "--help_LR.mp4",
        "-_LR.mp4",
        'it\'s "quoted"_LR.mp4',
        "two\nlines\r\tand\x1b[31mred\x07_LR.mp4",
        "100%d %s %05d %%_LR.mp4",
        "concat:a|b_LR.mp4",
        "file:x_LR.mp4",
        "http:x_LR.mp4",
        "tcp:127.0.0.1:80_LR.mp4",
        "pipe:0_LR.mp4",
        "data:,x_LR.mp4",
        "שלום\u202eltr_LR.mp4",
        "e\u0301\u0301\u0301 東京 Ærø_LR.mp4",
        "🎬👩\u200d👩\u200d👧_LR.mp4",
        "  spaces  _LR .mp4",
        "back\\slash\\n_LR.mp4",
        "glob*[a-z]?{x,y}_LR.mp4",
        "$(touch hacked)`touch hacked`;&|<>_LR.mp4",
        "[red]markup[/red] [link=http://x]_LR.mp4".replace("/", "\u2215"),
        "a,b=c:d;e@f#g!_LR.mp4",
        "line\u2028separator\x85_LR.mp4",
        "x" * 248 + "_LR.mp4",
        "é" * 124 + "_LR.mp4",
        b"caf\xe9 \xff\xfe_LR.mp4",
        "-sub folder\n'%/-y_LR.mp4",
        "folder_LR.mp4/inside_LR.mp4",
    )
)


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def run(inputs: Path, out: Path, cwd: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """As the installed command does: Python does not look for modules where it is typed."""
    script = out.parent / "vrmatte"
    script.write_text("from orchestrator.cli import main\nif __name__ == '__main__':\n    main()\n")
    return subprocess.run(
        [
            *(sys.executable, str(script), "run", str(inputs), "-o", str(out)),
            *("--model", "chroma", "--gpus", "none", *options),
        ],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="strict",
        check=False,
    )


def test_names_do_no_harm_and_lose_no_frame(clip: GetClip, tmp_path: Path) -> None:
    content = clip(CLIP).read_bytes()
    folder, out = tmp_path / "in", tmp_path / "base" / "out"
    folder.mkdir()
    out.parent.mkdir()
    for name in NAMES:
        path = folder / os.fsdecode(name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    os.mkfifo(folder / "fifo_LR.mp4")
    (folder / "device_LR.mp4").symlink_to("/dev/zero")
    (folder / "gone_LR.mp4").symlink_to("gone")
    (folder / "loop_LR.mp4").symlink_to("loop_LR.mp4")
    sources = tree(folder)
    with (
        socket.socket(socket.AF_UNIX) as plug,
        canary(tmp_path / "canary.mp4", content) as bird,
    ):
        plug.bind(str(folder / "s_LR.mp4"))
        (folder / "outside_LR.mp4").symlink_to(bird.path)
        done = run(folder, out, folder, "--lanes", "2")
        assert not bird.was_touched()
    assert done.returncode == 0, done.stderr
    outputs = [path for path in out.rglob("*") if path.suffix == ".webm"]
    assert len(outputs) == len(NAMES)
    for path in outputs:
        left, right = read_numbers(read_frames(path))
        assert left == right == list(range(CLIP.num_frames))
        str(path).encode()
    assert tree(folder) == sources | {"outside_LR.mp4", "s_LR.mp4"}
    assert {path.name for path in out.parent.iterdir()} == {"out", "vrmatte"}
    assert {path.name for path in tmp_path.iterdir()} == {"in", "base", "canary.mp4"}

    videos = json.loads((out / "report.json").read_text())["videos"]
    assert len(videos) == len(NAMES)
    assert all(video["result"] == "done" for video in videos)
    assert all(video["name"] == printable(video["name"]) for video in videos)
    # Bytes that would move a terminal's cursor or its colours: in what is said, and in any file.
    commands = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
    assert not commands.search((done.stdout + done.stderr).encode())
    for path in [
        out / "report.json",
        out / "report.html",
        *out.glob(".vrmatte/**/*.json*"),
        *out.glob(".vrmatte/*.yaml"),
    ]:
        assert not commands.search(path.read_bytes()), path
        for line in path.read_bytes().splitlines() if path.suffix == ".jsonl" else ():
            json.loads(line[line.index(b"{") :])


def test_no_module_is_taken_from_the_folder_of_the_videos(clip: GetClip, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "base" / "out"
    folder.mkdir()
    out.parent.mkdir()
    (folder / "clip_LR.mp4").write_bytes(clip(CLIP).read_bytes())
    for name in ("multiprocessing", "ctypes", "json", "signal", "av", "torch", "pipeline"):
        trap = f"from pathlib import Path\nPath({str(tmp_path / 'sprung')!r}).touch()\n"
        (folder / f"{name}.py").write_text(trap)
    done = run(folder, out, folder)
    assert not (tmp_path / "sprung").exists()
    assert done.returncode == 0, done.stderr
