"""A cache of compiled networks on the disk, so that a later start need not compile them again.

They lie in the models' cache, each in one file with the key of all that it was made of and a digest
of the whole. A file that is cut off, damaged or gone counts as none; one whose driver or libraries
are others now is stale, and deleted. Knows nothing of what is in them, and loads no torch.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.structlog_import import structlog

_log = structlog.get_logger()

_SUFFIX = ".compiled"
_DIGEST_BYTES = 32  # sha256, before all else
_LONGEST_HEAD = 1 << 16
_KEPT = 8  # files of an engine, of about 20 MB each; the last used ones

_CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """All that decides what a network compiles to.

    Attributes:
        engine: its name.
        network: what it is, in words: "rvm, refined".
        weights: digest of its weights and of the code around them.
        shapes: of its inputs.
        precision: "fp32" or "fp16".
        device: the kind of GPU or CPU, and what it can do.
        versions: of the driver and of libraries, "torch 2.15.0".
        options: the rest.
    """

    engine: str
    network: str
    weights: str
    shapes: tuple[tuple[int, ...], ...]
    precision: str
    device: str
    versions: tuple[str, ...]
    options: str = ""

    @property
    def name(self) -> str:
        """Of its file."""
        text = json.dumps(asdict(self), sort_keys=True)
        return f"{self.engine}-{hashlib.sha256(text.encode()).hexdigest()[:32]}{_SUFFIX}"


@dataclass(frozen=True, slots=True)
class Kept:
    """One file.

    Attributes:
        digest: 32 hexadecimal digits that name its content.
        refused: why this engine is not to be trusted; it has no content then.
    """

    key: Key
    digest: str
    refused: str | None
    content: bytes


class CompiledFiles:
    """May be used by several processes at once.

    Args:
        folder: made when something is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, key: Key) -> Kept | None:
        """What was kept under `key`; None where there is nothing whole."""
        found = _read(self._folder / key.name)
        return found if found is not None and found.key == key else None

    def of_digest(self, digest: str) -> Kept | None:
        """The file whose content has this digest, whatever its key."""
        for path in self._paths():
            with suppress(OSError), path.open("rb") as file:
                if file.read(_DIGEST_BYTES).hex().startswith(digest):
                    return _read(path)
        return None

    def all(self) -> list[Kept]:
        """Everything that is whole, by engine and network."""
        found = filter(None, map(_read, self._paths()))
        return sorted(found, key=lambda each: (each.key.engine, each.key.network, each.digest))

    def keep(self, key: Key, content: bytes) -> str:
        """Keep what was compiled; its digest. Where it cannot be written only time is lost."""
        return self._write(key, None, content)

    def refuse(self, key: Key, why: str) -> None:
        """Keep that what is compiled of `key` is not to be trusted."""
        self._write(key, why, b"")

    def drop_stale(self, key: Key) -> list[str]:
        """Delete the files of the same engine and device with other versions; their names."""
        dropped = []
        for path in self._paths(key.engine):
            found = _read(path)
            if found is None:
                continue
            if found.key.device == key.device and found.key.versions != key.versions:
                path.unlink(missing_ok=True)
                dropped.append(path.name)
        return dropped

    def clear(self) -> int:
        """Delete everything; how many files that were. Raises OSError."""
        paths = list(self._paths())
        for path in paths:
            path.unlink(missing_ok=True)
        return len(paths)

    def _paths(self, engine: str = "") -> Iterator[Path]:
        pattern = f"{engine}-*{_SUFFIX}" if engine else f"*{_SUFFIX}"
        yield from sorted(self._folder.glob(pattern))

    def _write(self, key: Key, refused: str | None, content: bytes) -> str:
        path = self._folder / key.name
        head = json.dumps({"key": asdict(key), "refused": refused}).encode() + b"\n"
        digest = hashlib.sha256(head)
        digest.update(content)
        draft = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                file.write(digest.digest())
                file.write(head)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
            self.drop_stale(key)
            self._drop_old(key.engine)
        except OSError as error:
            _log.warning("compiled_not_kept", path=str(path), why=str(error))
            with suppress(OSError):
                draft.unlink()
        return digest.hexdigest()[:32]

    def _drop_old(self, engine: str) -> None:
        found = []
        for path in self._paths(engine):
            with suppress(FileNotFoundError):  # another process drops them as well
                found.append((path.stat().st_mtime, path))
        for _, path in sorted(found, reverse=True)[_KEPT:]:
            path.unlink(missing_ok=True)


def _read(path: Path) -> Kept | None:
    try:
        content = path.read_bytes()
        os.utime(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        _log.warning("compiled_unreadable", path=str(path), why=str(error))
        return None
    digest, body = content[:_DIGEST_BYTES], memoryview(content)[_DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        _log.warning("compiled_damaged", path=str(path))
        return None
    head, _, _ = bytes(body[:_LONGEST_HEAD]).partition(b"\n")
    try:
        said = json.loads(head)
        fields: dict[str, Any] = {name: _tuples(value) for name, value in said["key"].items()}
        return Kept(Key(**fields), digest.hex()[:32], said["refused"], bytes(body[len(head) + 1 :]))
    except (ValueError, LookupError, TypeError, AttributeError):  # of an earlier version
        _log.warning("compiled_unknown", path=str(path))
        return None


def _tuples(value: object) -> object:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def code_digest(*places: Path) -> str:
    """Of Python files, and of all in folders but in hidden ones, hexadecimal."""
    digest = hashlib.sha256()
    for place in places:
        files = [place]
        if place.is_dir():
            files = sorted([*place.glob("*.py"), *place.glob("[!.]*/**/*.py")])
        for file in files:
            digest.update(f"{file.relative_to(place)}\n".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def processor() -> str:
    """The kind of CPU and what it can do: networks are compiled for exactly that."""
    wanted = ("model name", "flags", "Features", "CPU part")
    text = _CPU_INFO.read_text(encoding="utf-8", errors="replace") if _CPU_INFO.exists() else ""
    first = text.partition("\n\n")[0]
    return "\n".join(line for line in first.splitlines() if line.startswith(wanted))
