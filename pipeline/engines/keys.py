"""What an engine can be built of, and the key under which it is kept. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from pipeline.engines.catalogue import ENGINES
from pipeline.engines.compiled_files import Key


@dataclass(frozen=True, slots=True)
class Buildable:
    """A network for which an engine can be built. See `Key` for the fields."""

    network: str
    weights: str
    shapes: tuple[tuple[int, ...], ...]
    precision: str


def key_of(engine: str, what: Buildable, device: str, driver: str) -> Key:
    """The key of what an engine makes of a network on a device.

    Args:
        device: the GPU's name.
        driver: its version; empty where there is none.
    """
    return Key(
        engine=engine,
        network=what.network,
        weights=what.weights,
        shapes=what.shapes,
        precision=what.precision,
        device=device,
        versions=(*((f"driver {driver}",) if driver else ()), *library_versions(engine)),
    )


def library_versions(engine: str) -> tuple[str, ...]:
    """Of the libraries of an engine, "torch 2.15.0"; those that are missing have no number."""
    return tuple(f"{name} {_version(name)}".strip() for name in ENGINES[engine].libraries)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
