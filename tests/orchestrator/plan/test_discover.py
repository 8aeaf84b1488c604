"""Discovery: which files are sources, in which order, and how their outputs are told apart."""

from __future__ import annotations

import os
import random
import socket
from pathlib import Path, PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.out.output_names import LONGEST_NAME_BYTES
from orchestrator.plan.discover import (
    Source,
    discover,
    natural_key,
    output_stems,
)
from pipeline.errors import SettingsError


def make(folder: Path, *names: str | bytes) -> None:
    for name in names:
        path = folder / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def names(inputs: list[Path], out: Path, follow_links: bool = False) -> list[str]:
    return [str(s.relative) for s in discover(inputs, out, follow_links=follow_links)]


def test_videos_of_all_kinds_in_natural_order_with_their_sub_folders(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    make(
        folder,
        "clip10.mp4",
        "clip2.MOV",
        "Clip1.mkv",
        "notes.txt",
        "b/x.ts",
        "a/y.AVI",
        "a/z/w.webm",
    )
    assert names([folder], tmp_path / "out") == [
        "Clip1.mkv", "clip2.MOV", "clip10.mp4", "a/y.AVI", "a/z/w.webm", "b/x.ts",
    ]  # fmt: skip


def test_hidden_things_and_our_own_outputs_are_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    make(folder, "a.mp4", ".b.mp4", ".hidden/c.mp4", "a_matte.webm", "A_MATTE.WEBM", "a.alpha.mkv")
    make(folder, "old/.vrmatte/journal.jsonl", "old/deep/d.mp4")
    assert names([folder], tmp_path / "out") == ["a.mp4"]


def test_files_can_be_given_and_no_file_is_taken_twice(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    make(folder, "a.mp4", "b.mp4")
    (folder / "same.mp4").hardlink_to(folder / "a.mp4")
    inputs = [folder / "b.mp4", folder, folder / ".." / "in"]
    assert names(inputs, tmp_path / "out") == ["b.mp4", "a.mp4"]


def test_links_out_of_the_folder_are_followed_only_when_asked(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "in", tmp_path / "elsewhere"
    make(folder, "a.mp4", "sub/b.mp4")
    make(elsewhere, "c.mp4", "d/e.mp4")
    (folder / "talk_LR_180.mp4").symlink_to(elsewhere / "c.mp4")
    (folder / "linked").symlink_to(elsewhere / "d")
    (folder / "broken.mp4").symlink_to(elsewhere / "gone.mp4")
    (folder / "loop.mp4").symlink_to("loop.mp4")
    (folder / "sub" / "up").symlink_to(folder)
    out = tmp_path / "out"
    assert names([folder], out) == ["a.mp4", "sub/b.mp4"]
    assert names([folder], out, follow_links=True) == [
        "a.mp4", "talk_LR_180.mp4", "linked/e.mp4", "sub/b.mp4",
    ]  # fmt: skip
    # A link that is named on the command line was asked for; its own name is kept.
    assert names([folder / "talk_LR_180.mp4"], out) == ["talk_LR_180.mp4"]


def test_what_only_bears_the_name_of_a_video_is_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    make(folder, "a.mp4", "folder.mp4/b.mp4")
    os.mkfifo(folder / "fifo.mp4")
    (folder / "device.mp4").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "s.mp4"))
        for follow_links in (False, True):
            found = names([folder], tmp_path / "out", follow_links)
            assert found == ["a.mp4", "folder.mp4/b.mp4"]


def test_names_that_are_not_utf8_are_found_and_can_be_printed(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    make(folder, b"caf\xe9_LR_180.mp4", "zwei\nzeilen\x1b[31m.mp4")
    sources = discover([folder], tmp_path / "out")
    assert len(sources) == 2
    for source in sources:
        assert source.name.isprintable()
        source.name.encode()
    for stem in output_stems(sources):
        str(stem).encode()


@pytest.mark.parametrize(
    ("inputs", "out", "words"),
    [
        (["in"], "in", "lies in the input"),
        (["in"], "in/sub/out", "lies in the input"),
        (["link"], "in/out", "lies in the input"),
        (["old"], "out", "is an output folder"),
        (["old/b"], "old", "is an output folder"),
        (["empty"], "out", "no videos found in"),
        (["none"], "out", "No such file"),
        (["in/notes.txt"], "out", "not a video by its name"),
        (["in/a_matte.webm"], "out", "named like an output"),
        (["/dev/null"], "out", "neither a folder nor a file"),
    ],
)
def test_bad_inputs_get_one_clear_line(
    tmp_path: Path, inputs: list[str], out: str, words: str
) -> None:
    make(tmp_path, "in/a.mp4", "in/notes.txt", "in/a_matte.webm", "empty/readme.md")
    make(tmp_path, "old/.vrmatte/lock", "old/b/c.mp4")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    with pytest.raises(SettingsError) as caught:
        discover([tmp_path / name for name in inputs], tmp_path / out)
    assert words in caught.value.message
    assert "\n" not in str(caught.value)
    assert caught.value.advice


def test_a_file_beside_its_output_is_fine(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4")
    assert names([tmp_path / "a.mp4"], tmp_path) == ["a.mp4"]


def source(path: str, relative: str, root: str = "in") -> Source:
    return Source(Path(path), PurePath(relative), root)


def test_outputs_keep_the_name_of_their_source_but_for_its_tags() -> None:
    [stem] = output_stems(
        [source("/in/day1_LR/talk_3DH_180x180.mp4", "day1_LR/talk_3DH_180x180.mp4")]
    )
    assert stem == PurePath("day1_LR/talk")


def test_outputs_that_would_meet_are_told_apart() -> None:
    sources = [
        source("/1/a.mp4", "a.mp4", "1"),
        source("/1/A.mov", "A.mov", "1"),
        source("/1/b.mp4", "b.mp4", "1"),
        source("/2/b.mp4", "b.mp4", "2"),
        source("/1/c.mp4", "c.mp4", "1"),
        source("/1/d_LR.mp4", "d_LR.mp4", "1"),
        source("/1/d_180.mov", "d_180.mov", "1"),
    ]
    names = ["a_mp4", "A_mov", "b_1", "b_2", "c", "d_mp4", "d_mov"]
    assert [str(stem) for stem in output_stems(sources)] == names


digits_and_letters = st.text("aB1029 _é٣", min_size=0, max_size=12)


@given(st.lists(digits_and_letters, max_size=8))
def test_natural_order_is_an_order_without_ties(texts: list[str]) -> None:
    once = sorted(texts, key=natural_key)
    shuffled = random.Random(0).sample(texts, len(texts))
    assert sorted(shuffled, key=natural_key) == once
    keys = {natural_key(text) for text in texts}
    assert len(keys) == len(set(texts))


@given(st.text("abc_", max_size=5), st.lists(st.integers(0, 10**6), max_size=8))
def test_numbers_inside_names_are_ordered_as_numbers(prefix: str, numbers: list[int]) -> None:
    ordered = sorted((f"{prefix}{number}x.mp4" for number in numbers), key=natural_key)
    assert ordered == [f"{prefix}{number}x.mp4" for number in sorted(numbers)]


file_names = st.builds(
    "{}.{}".format,
    st.one_of(
        st.sampled_from(["a", "A", "a_mp4", "a_in", "ä", "x" * 250]),
        st.text("aéß_", min_size=1, max_size=4),
    ),
    st.sampled_from(["mp4", "MP4", "mov", "webm"]),
)


@given(st.lists(st.tuples(st.sampled_from(["in", "other"]), file_names), unique=True, max_size=12))
def test_no_two_sources_share_an_output(found: list[tuple[str, str]]) -> None:
    sources = [source(f"/{root}/{name}", name, root) for root, name in found]
    stems = output_stems(sources)
    assert len({str(stem).casefold() for stem in stems}) == len(sources)
    assert all(len(f"{stem.name}_matte.webm".encode()) <= LONGEST_NAME_BYTES for stem in stems)
    # What a source's output is called does not depend on the order of the sources.
    backwards = output_stems(sources[::-1])
    assert backwards[::-1] == stems
