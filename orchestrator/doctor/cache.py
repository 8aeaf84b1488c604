"""The cache of what was found out about this machine: trials of codecs, and gates passed.

It lies in the user's cache folder (``XDG_CACHE_HOME``, ``~/.cache``), in a folder for each machine
and version: a pod that comes back with another card, driver or package begins with nothing known.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from orchestrator.machine.devices import Gpu, usable_cores, usable_memory
from pipeline.errors import DiskError
from pipeline.files.disk import write_file
from pipeline.foreign.json_text import read_json

_LONGEST_BYTES = 16 << 20

#: What takes part in decoding, matting and encoding.
PACKAGES = (
    *("vrmatte", "torch", "torchvision", "torchcodec", "openvino", "sam2", "av"),
    *("imageio-ffmpeg", "numpy", "opencv-python-headless"),
)


@dataclass(frozen=True, slots=True)
class Identity:
    """Tells whether this is still the same machine and program.

    Attributes:
        cpu: the processor's name.
        memory_gb: whole gigabytes that may be used.
        gpus: the uuids.
        driver: NVIDIA's version; empty without one.
        versions: of each of `PACKAGES`, and of Python.
        ffmpeg: the program that encodes, with its size and time.
        code: digest of this program's own files, because a checkout changes under one version.
    """

    cpu: str
    cores: int
    memory_gb: int
    gpus: tuple[str, ...]
    driver: str
    versions: tuple[tuple[str, str], ...]
    ffmpeg: str
    code: str

    def fingerprint(self) -> str:
        """16 hexadecimal digits."""
        text = repr(self)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def identity(gpus: Sequence[Gpu], driver: str) -> Identity:
    """Of this machine, with the GPUs that can be seen."""
    return Identity(
        cpu=_cpu_name(),
        cores=usable_cores(),
        memory_gb=usable_memory() >> 30,
        gpus=tuple(gpu.uuid for gpu in gpus),
        driver=driver,
        versions=(("python", platform.python_version()), *sorted(package_versions().items())),
        ffmpeg=_ffmpeg(),
        code=_code_digest(),
    )


def package_versions() -> dict[str, str]:
    """Versions of those of `PACKAGES` that are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def cache_folder() -> Path:
    """The folder of the cache; it need not exist."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "vrmatte"


def read_record(path: Path) -> dict[str, Any]:
    """The content of a file of the cache; empty if it is missing or damaged."""
    try:
        record = read_json(path, _LONGEST_BYTES)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Replace a file of the cache, whole or not at all.

    Raises:
        DiskError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DiskError(
            f"cannot make the cache folder {path.parent}: {error.strerror}",
            "name one that can be written to with XDG_CACHE_HOME",
        ) from error
    write_file(path, json.dumps(record, indent=1, default=str).encode() + b"\n")


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _ffmpeg() -> str:
    """The ffmpeg that encodes; empty without one."""
    import imageio_ffmpeg

    try:
        path = Path(imageio_ffmpeg.get_ffmpeg_exe())
        status = path.stat()
    except (RuntimeError, OSError):
        return ""
    return f"{path} {status.st_size} {status.st_mtime_ns}"


@cache
def _code_digest() -> str:
    root = Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    for package in ("orchestrator", "pipeline", "workers"):
        for path in sorted((root / package).rglob("*.py")):
            digest.update(str(path.relative_to(root)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
