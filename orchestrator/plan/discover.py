"""Find the source videos in the inputs, in natural order, and name their outputs.

Looks at names and folders only; the probe looks into the files.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal

from orchestrator.out.output_names import (
    LONGEST_ENDING_BYTES,
    LONGEST_NAME_BYTES,
    is_output_name,
)
from orchestrator.settings.settings import STATE_FOLDER
from pipeline.errors import SettingsError
from pipeline.text import printable
from pipeline.vr_tags.in_names import strip_tags

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts"}
)


#: Of a true alpha beside a clip (`vrmatte demo --alpha`), which is no video to be matted.
_TRUTH = [".alpha", ".mkv"]


@dataclass(frozen=True, slots=True)
class Source:
    """One video file that was found.

    Attributes:
        path: absolute; a link keeps its own name, for what the name says about the layout.
        relative: path below the input folder it was found in, or the bare file name.
        root: name of that input folder; of the file's own folder where a file was given.
    """

    path: Path
    relative: PurePath
    root: str

    @property
    def name(self) -> str:
        """Its relative path; printable whatever bytes the file name holds."""
        return printable(str(self.relative))


def natural_key(text: str) -> tuple[object, ...]:
    """Sorts as a person would: ``clip2`` before ``clip10``, case ignored. No two texts tie."""
    parts = re.split(r"([0-9]+)", text)
    # Odd parts are digits: numbers meet numbers and text meets text, whatever the names.
    key = (int(part) if i % 2 else part.casefold() for i, part in enumerate(parts))
    return (tuple(key), text)


def discover(inputs: Sequence[Path], out: Path, *, follow_links: bool = False) -> list[Source]:
    """All videos in the given folders and files, each once.

    Order: as the inputs were given, natural inside a folder. Hidden files and folders, output
    folders of vrmatte, and files named like its outputs are skipped.

    Raises:
        SettingsError: an input is missing or unreadable, lies in OUT or holds it; no videos found.
    """
    out = Path(os.path.realpath(out))
    found: dict[tuple[int, int], Source] = {}
    for given in inputs:
        for source in _sources(given, out, follow_links):
            status = source.path.stat()
            found.setdefault((status.st_dev, status.st_ino), source)
    if not found:
        where = ", ".join(printable(str(given)) for given in inputs)
        kinds = " ".join(sorted(suffix[1:] for suffix in VIDEO_SUFFIXES))
        raise SettingsError(f"no videos found in {where}", f"supported: {kinds}")
    return list(found.values())


def _sources(given: Path, out: Path, follow_links: bool) -> Iterator[Source]:
    shown = printable(str(given))
    path = Path(os.path.realpath(given))
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise SettingsError(
            f"cannot read the input {shown}: {error.strerror}", "check the path"
        ) from None
    if stat.S_ISDIR(mode):
        if out.is_relative_to(path):
            raise SettingsError(
                f"the output folder {printable(str(out))} lies in the input {shown}",
                "choose an output folder outside of the inputs",
            )
        if path.is_relative_to(out) or (path / STATE_FOLDER).is_dir():
            raise SettingsError(
                f"the input {shown} is an output folder of vrmatte",
                "give the folder with the sources",
            )
        yield from _in_folder(path, follow_links)
    elif not stat.S_ISREG(mode):
        raise SettingsError(f"the input {shown} is neither a folder nor a file", "check the path")
    elif given.suffix.lower() not in VIDEO_SUFFIXES:
        raise SettingsError(
            f"the input {shown} is not a video by its name",
            f"supported: {' '.join(sorted(suffix[1:] for suffix in VIDEO_SUFFIXES))}",
        )
    elif is_output_name(given.name):
        raise SettingsError(
            f"the input {shown} is named like an output of vrmatte", "rename it if it is a source"
        )
    else:
        yield Source(given.absolute(), PurePath(given.name), given.absolute().parent.name)


def _in_folder(root: Path, follow_links: bool) -> Iterator[Source]:
    """Videos below `root`; the files of a folder before its sub-folders, each in natural order."""
    visited: set[tuple[int, int]] = set()

    def walk(folder: Path, below: PurePath) -> Iterator[Source]:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in visited:  # a link that leads back up
            return
        visited.add((status.st_dev, status.st_ino))
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: natural_key(entry.name))
        except OSError as error:
            raise SettingsError(
                f"cannot read the folder {printable(str(folder))}: {error.strerror}",
                "check its permissions",
            ) from None
        if any(entry.name == STATE_FOLDER for entry in entries):
            return
        folders: list[os.DirEntry[str]] = []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            target = Path(os.path.realpath(entry.path))
            if entry.is_symlink() and not follow_links and not target.is_relative_to(root):
                continue
            kind = _kind(entry)
            if kind == "folder":
                folders.append(entry)
            elif kind == "file" and _is_source_name(entry.name):
                yield Source(folder / entry.name, below / entry.name, root.name)
        for entry in folders:
            yield from walk(Path(os.path.realpath(entry.path)), below / entry.name)

    yield from walk(root, PurePath())


def _kind(entry: os.DirEntry[str]) -> Literal["file", "folder", "other"]:
    """The kind of an entry, or of its link's target; it is not opened."""
    try:
        return "folder" if entry.is_dir() else "file" if entry.is_file() else "other"
    except OSError:  # a link to itself, or out of reach
        return "other"


def _is_source_name(name: str) -> bool:
    suffixes = [suffix.lower() for suffix in PurePath(name).suffixes]
    if suffixes[-2:] == _TRUTH:
        return False
    return suffixes[-1:] != [] and suffixes[-1] in VIDEO_SUFFIXES and not is_output_name(name)


def output_stems(sources: Sequence[Source], extra_bytes: int = 0) -> list[PurePath]:
    """For each source the path of its outputs below OUT, without tags and endings; all distinct.

    It is the source's path without its suffix and the tags in its name. Sources with the same path
    (``a.mp4`` and ``a.mov``, or the same name in two inputs) all get, in turn, their suffix, their
    input folder's name, and a digest of their path as part of the name, so that names do not depend
    on the order.

    Args:
        extra_bytes: what a name has beside that, its tags and its ending.
    """
    levels = [0] * len(sources)
    while True:
        stems = [
            _stem(source, level, extra_bytes) for source, level in zip(sources, levels, strict=True)
        ]
        # Case-blind, because OUT may lie on a file system that is.
        uses = Counter(str(stem).casefold() for stem in stems)
        crowded = [i for i, stem in enumerate(stems) if uses[str(stem).casefold()] > 1]
        if not crowded:
            return stems
        for i in crowded:
            levels[i] += 1


def _stem(source: Source, level: int, extra_bytes: int) -> PurePath:
    parts = [_writable(part) for part in source.relative.parts]
    name = strip_tags(_writable(source.relative.stem))
    suffix = source.relative.suffix[1:].lower()
    # Two digests of the same length differ in practice at once, and in theory when they grow.
    digest = hashlib.sha256(os.fsencode(source.path)).hexdigest()
    ending = ["", f"_{suffix}", f"_{_writable(source.root)}"]
    tail = ending[level] if level < len(ending) else f"_{suffix}_{digest[: 8 * (level - 2)]}"
    limit = LONGEST_NAME_BYTES - LONGEST_ENDING_BYTES - extra_bytes
    if len((name + tail).encode()) > limit:
        tail = (
            f"_{digest[:8]}{tail}"
            if len(tail.encode()) < min(80, limit // 2)
            else f"_{digest[:16]}"
        )
        name = name.encode()[: limit - len(tail.encode())].decode("utf-8", "ignore")
    return PurePath(*parts[:-1], name + tail)


def _writable(name: str) -> str:
    """`name` as valid UTF-8: libraries that open files by name take no other."""
    return os.fsencode(name).decode("utf-8", "replace").replace("\N{REPLACEMENT CHARACTER}", "_")
