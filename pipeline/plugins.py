"""A catalogue: the built-in rows of one kind, and those that other packages add by entry point.

Formats and models are such rows. Loads no torch, and imports another package's module only when
its row is asked for: a broken package costs itself alone.
"""

from __future__ import annotations

import difflib
import pkgutil
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, Protocol, TypeVar

from pipeline.errors import SettingsError
from pipeline.text import printable


class Named(Protocol):
    """A row: whatever its catalogue holds, under a name."""

    @property
    def name(self) -> str: ...


Row = TypeVar("Row", bound=Named)


class Catalogue(Generic[Row]):
    """The rows of one kind, by name.

    Args:
        kind: what a row is called in messages, such as ``"format"``.
        group: entry point group in which other packages name their rows.
        row_class: class of every row. An entry point of another class is an error.
        built_in: rows of this package, in the order in which they are listed.
        other_words: what may be written in place of a row's name; a message names them as well.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        row_class: type[Row],
        built_in: Sequence[Row],
        other_words: Sequence[str] = (),
    ) -> None:
        self.kind = kind
        self.group = group
        self.built_in = {row.name: row for row in built_in}
        self._row_class = row_class
        self._other_words = other_words

    def names(self) -> list[str]:
        """Every name: the built-in ones in their order, then the others sorted. Loads no row."""
        others = {point.name for point in registered(self.group)}
        return [*self.built_in, *sorted(others - set(self.built_in))]

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def __getitem__(self, name: str) -> Row:
        """The row of a name.

        Raises:
            SettingsError: no row has that name, several have it, or another package's row cannot
                be loaded or is not a row.
        """
        points = [point for point in registered(self.group) if point.name == name]
        if len(points) + (name in self.built_in) > 1:
            raise self._ambiguous(name, points)
        if name in self.built_in:
            return self.built_in[name]
        if not points:
            raise SettingsError(
                f"there is no {self.kind} named {name!r}",
                nearest(name, [*self._other_words, *self.names()]),
            )
        return self._loaded(points[0])

    def get(self, name: str) -> Row | None:
        """The row of a name, or None where `catalogue[name]` raises SettingsError."""
        try:
            return self[name]
        except SettingsError:
            return None

    def __iter__(self) -> Iterator[Row]:
        """Every row that `get` gives. `vrmatte doctor` reports the others."""
        return (row for row in map(self.get, self.names()) if row is not None)

    def adapted(self, name: str, registered: object) -> object:
        """What an entry point refers to, as a row; a kind of rows may take other forms."""
        return registered

    def load(self, name: str, reference: str) -> Any:
        """The object that the row called `name` refers to as ``"module:attribute"``.

        Raises:
            SettingsError: it is another package's, and cannot be loaded.
        """
        if name in self.built_in:
            return pkgutil.resolve_name(reference)
        try:
            return pkgutil.resolve_name(reference)
        except Exception as error:  # another package's code: it may raise anything
            reason = printable(f"{type(error).__name__}: {error}")
            raise SettingsError(
                f"the {self.kind} {name!r} cannot load {reference}: {reason}",
                "repair or uninstall its package",
            ) from error

    def _loaded(self, point: EntryPoint) -> Row:
        subject = f"the {self.kind} {point.name!r} of {package(point)}"
        advice = "repair or uninstall that package"
        try:
            row = self.adapted(point.name, point.load())
        except Exception as error:  # another package's code: it may raise anything
            reason = printable(f"{type(error).__name__}: {error}")
            raise SettingsError(f"{subject} cannot be loaded: {reason}", advice) from error
        if not isinstance(row, self._row_class):
            raise SettingsError(
                f"{subject} is a {type(row).__name__}, not a {self._row_class.__name__}", advice
            )
        if row.name != point.name:
            raise SettingsError(f"{subject} calls itself {row.name!r}", advice)
        return row

    def _ambiguous(self, name: str, points: Sequence[EntryPoint]) -> SettingsError:
        owners = sorted(package(point) for point in points)
        if name in self.built_in:
            owners.insert(0, "vrmatte itself")
        return SettingsError(
            f"several {self.kind}s are named {name!r}: those of {' and '.join(owners)}",
            "uninstall all but one of these packages",
        )


@cache
def registered(group: str) -> tuple[EntryPoint, ...]:
    """The entry points of a group. Searched once a process: it reads every installed package."""
    return tuple(entry_points(group=group))


def package(point: EntryPoint) -> str:
    """The package that registers an entry point, for a message."""
    return f"package {point.dist.name}" if point.dist else point.value


def nearest(name: str, names: Sequence[str]) -> str:
    """Advice for a name that does not exist."""
    near = difflib.get_close_matches(name, names, 1)
    return f"did you mean {near[0]!r}?" if near else f"choose one of: {', '.join(names)}"
