"""Packages as an installer leaves them: a folder for PYTHONPATH, with modules and entry points."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pipeline.plugins import registered


def install(
    folder: Path, name: str, entry_points: Mapping[str, str], group: str, **modules: str
) -> Path:
    """Put a package into `folder`, which may hold others.

    Args:
        name: of the package.
        entry_points: of `group`: name -> ``module:attribute``.
        modules: name -> source text.
    """
    about = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"{key} = {value}" for key, value in entry_points.items()]
    (about / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]))
    for module, text in modules.items():
        (folder / f"{module}.py").write_text(text)
    return folder


@contextmanager
def installed(folder: Path) -> Iterator[None]:
    """The packages in `folder` are found by this process, and forgotten at the end."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    _look_again()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        _look_again()
        for module in set(sys.modules) - before:
            if str(getattr(sys.modules[module], "__file__", "")).startswith(str(folder)):
                del sys.modules[module]


def _look_again() -> None:
    importlib.invalidate_caches()
    registered.cache_clear()
