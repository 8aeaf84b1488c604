"""A cache of compiled networks on the disk, so that a later start need not compile them again.

They lie in the models' cache, each under a digest of all that it was made of. A file that is cut
off, damaged or gone is made again; knows nothing of what is in them.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from torch import nn

from pipeline.structlog_import import structlog

_log = structlog.get_logger()

_SUFFIX = ".compiled"
_DIGEST_BYTES = 32  # sha256, before the content
_KEPT = 8  # files, of about 20 MB each; the last used ones

_CPU_INFO = Path("/proc/cpuinfo")


class CompiledFiles:
    """May be used by several processes at once.

    Args:
        folder: made when something is kept.
        made_of: all that decides what a network compiles to, but for what `read` and `keep` are
            told.
    """

    def __init__(self, folder: Path, made_of: Iterable[str]) -> None:
        self._folder = folder
        self._made_of = tuple(made_of)

    def read(self, what: object) -> bytes | None:
        """What was kept of `what`, told by its `repr`; None where there is nothing whole."""
        path = self._path(what)
        try:
            content = path.read_bytes()
            os.utime(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.warning("compiled_unreadable", path=str(path), why=str(error))
            return None
        body = memoryview(content)[_DIGEST_BYTES:]
        if hashlib.sha256(body).digest() != content[:_DIGEST_BYTES]:
            _log.warning("compiled_damaged", path=str(path))
            return None
        return bytes(body)

    def keep(self, what: object, content: bytes) -> None:
        """Where it cannot be written nothing is lost but time."""
        path = self._path(what)
        draft = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                file.write(hashlib.sha256(content).digest())
                file.write(content)
            draft.replace(path)
            self._drop_old()
        except OSError as error:
            _log.warning("compiled_not_kept", path=str(path), why=str(error))
            with suppress(OSError):
                draft.unlink()

    def _path(self, what: object) -> Path:
        digest = hashlib.sha256("\0".join([*self._made_of, repr(what)]).encode()).hexdigest()
        return self._folder / f"{digest}{_SUFFIX}"

    def _drop_old(self) -> None:
        found = []
        for path in self._folder.glob(f"*{_SUFFIX}"):
            with suppress(FileNotFoundError):  # another process drops them as well
                found.append((path.stat().st_mtime, path))
        for _, path in sorted(found, reverse=True)[_KEPT:]:
            path.unlink(missing_ok=True)


def network_digest(network: nn.Module) -> str:
    """Of all parameters and buffers, hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().numpy())
    return digest.hexdigest()


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
