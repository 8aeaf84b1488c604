"""Files out of an npm package: only those asked for stay, and only if every digest is right."""

from __future__ import annotations

import base64
import hashlib
import io
import shutil
import tarfile
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline.errors import MachineError
from pipeline.files.npm_package import Package, fetch_files, registry_address

FILES = {"models/a.json": b"{}", "models/b.bin": bytes(range(256)) * 9, "models/c.bin": b"c" * 9000}
ADDRESS = "https://registry.invalid/npm/"


def tarball(files: Mapping[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return content.getvalue()


def package_of(content: bytes, files: Mapping[str, bytes]) -> Package:
    return Package(
        "@owner/models",
        "1.2.3",
        f"sha512-{base64.b64encode(hashlib.sha512(content).digest()).decode()}",
        {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    )


def serve(monkeypatch: pytest.MonkeyPatch, content: bytes) -> list[str]:
    asked: list[str] = []

    def urlopen(address: str, timeout: float) -> io.BytesIO:
        asked.append(address)
        return io.BytesIO(content)

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    return asked


WANTED = {name: FILES[name] for name in ("models/a.json", "models/b.bin")}


def test_only_the_wanted_files_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = tarball(FILES)
    asked = serve(monkeypatch, content)
    fetch_files(package_of(content, WANTED), ADDRESS, tmp_path, 1.0)
    assert asked == ["https://registry.invalid/npm/@owner/models/-/models-1.2.3.tgz"]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "a.json": FILES["models/a.json"],
        "b.bin": FILES["models/b.bin"],
    }


def test_a_file_of_the_same_name_elsewhere_in_the_package_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = tarball({**WANTED, "other/a.json": b"wrong", "a.json": b"wrong"})
    serve(monkeypatch, content)
    fetch_files(package_of(content, WANTED), ADDRESS, tmp_path, 1.0)
    assert (tmp_path / "a.json").read_bytes() == FILES["models/a.json"]


@pytest.mark.parametrize("kind", ["changed", "cut off", "no archive", "empty", "lacks a file"])
def test_what_is_not_the_package_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    right = tarball(FILES)
    package = package_of(right, WANTED)
    content = {
        "changed": tarball({**FILES, "models/b.bin": b"another"}),
        "cut off": right[: len(right) // 2],
        "no archive": b"<html>log in first</html>",
        "empty": b"",
        "lacks a file": tarball({"models/a.json": FILES["models/a.json"]}),
    }[kind]
    if kind == "lacks a file":
        package = package_of(content, WANTED)
    serve(monkeypatch, content)
    with pytest.raises(MachineError, match=r"not the package|no whole package|not the file"):
        fetch_files(package, ADDRESS, tmp_path, 1.0)
    assert not [*tmp_path.iterdir()]


def test_a_file_that_is_not_the_known_one_is_refused_even_where_the_package_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = tarball(FILES)
    serve(monkeypatch, content)
    other = package_of(content, {**WANTED, "models/a.json": b"something else"})
    with pytest.raises(MachineError, match=r"models/a\.json .* is not the file that is known"):
        fetch_files(other, ADDRESS, tmp_path, 1.0)
    assert not [*tmp_path.iterdir()]


def test_the_registry_is_what_settings_environment_and_npm_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("npm_config_registry", "NPM_CONFIG_REGISTRY", "npm_config_@owner:registry"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert registry_address(None, "@owner") is None
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\n[ $3 = registry ] && echo https://npm.invalid/ || echo undefined\n")
    npm.chmod(0o755)
    assert registry_address(None, "@owner") == "https://npm.invalid/"
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "https://environment.invalid/")
    assert registry_address(None, "@owner") == "https://environment.invalid/"
    monkeypatch.setenv("npm_config_@owner:registry", "https://scope.invalid/")
    assert registry_address(None, "@owner") == "https://scope.invalid/"
    assert registry_address("https://asked.invalid/", "@owner") == "https://asked.invalid/"


@pytest.mark.parametrize("script", ["exit 1", "echo", "echo undefined", "echo file:///etc"])
def test_an_npm_that_knows_none_is_as_good_as_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    npm = tmp_path / "npm"
    npm.write_text(f"#!/bin/sh\n{script}\n")
    npm.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(npm))
    monkeypatch.delenv("npm_config_registry", raising=False)
    assert registry_address(None, "@owner") is None
