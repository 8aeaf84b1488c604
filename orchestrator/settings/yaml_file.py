"""Read a settings file: plain values of YAML with their line numbers. Knows no setting."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import SettingsError
from pipeline.foreign.files import Unreadable, read_text
from pipeline.foreign.yaml_text import Bounds, compose, scalar

#: A settings file is written by hand; anything longer is some other file.
LONGEST_FILE_BYTES = 1 << 18

#: The file, a list of overrides, one of them, a group in it, a list in that, a region in that, its
#: list of corners, one of them.
DEEPEST_NESTING = 8

#: The way to a value: names of keys, and numbers in lists.
Keys = tuple[str | int, ...]

_MAP, _LIST = "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"


#: Takes a mistake; where it returns, reading goes on without the value at fault.
Report = Callable[[SettingsError], object]


def refuse(error: SettingsError) -> None:
    """The `Report` by which the first mistake is the last."""
    raise error from None


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """The content of a file.

    Attributes:
        path: None where there is no file.
        values: plain mappings, lists and scalars.
        lines: the line, from 1, of each key and each item of a list.
    """

    path: Path | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    lines: Mapping[Keys, int] = field(default_factory=dict)

    def line(self, *keys: str | int) -> int | None:
        """The line of a value, or else of the nearest one around it."""
        return next(
            (self.lines[keys[:n]] for n in range(len(keys), 0, -1) if keys[:n] in self.lines), None
        )

    def where(self, *keys: str | int) -> str:
        """``FILE, line N: `` of a value; empty if it is not from the file."""
        line = self.line(*keys)
        return "" if line is None else f"{self.path}, line {line}: "


def line_in(message: str, path: Path) -> int | None:
    """The line that `SettingsFile.where` put in front of a message about the file at `path`."""
    found = re.match(re.escape(f"{path}, line ") + r"(\d+): ", message)
    return None if found is None else int(found[1])


def read_settings_file(path: Path, report: Report = refuse) -> SettingsFile:
    """Read a YAML file.

    Args:
        report: called with each key that is given twice, or is none.

    Raises:
        SettingsError: it cannot be read, is no YAML, or holds a key twice; with the line.
    """
    lines: dict[Keys, int] = {}
    try:
        root = compose(read_text(path, LONGEST_FILE_BYTES), Bounds(depth=DEEPEST_NESTING))
        values = None if root is None else _Values(path, lines, report).of(root, ())
    except Unreadable as error:
        if error.missing:
            raise SettingsError(
                f"cannot read the settings file {path}: {error.why.partition(': ')[2]}",
                "`vrmatte config init FILE` writes one",
            ) from None
        raise error.as_error(SettingsError, path) from None
    if values is not None and not isinstance(values, dict):
        line = 1 if root is None else root.start_mark.line + 1
        raise no_mapping(f"{path}, line {line}: ", "the file")
    return SettingsFile(path, values or {}, lines)


def no_mapping(where: str, name: str) -> SettingsError:
    """The error for a value where `name` should hold keys."""
    return SettingsError(
        f"{where}{name} must hold `key: value` lines",
        "`vrmatte config init FILE` writes an example",
    )


@dataclass(frozen=True, slots=True)
class _Values:
    """Makes values of YAML's nodes and notes their lines. Every key is text."""

    path: Path
    lines: dict[Keys, int]
    report: Report

    def of(self, node: yaml.Node, keys: Keys) -> Any:
        if isinstance(node, yaml.MappingNode) and node.tag == _MAP:
            return self._mapping(node, keys)
        if isinstance(node, yaml.SequenceNode) and node.tag == _LIST:
            for number, item in enumerate(node.value):
                self.lines[(*keys, number)] = item.start_mark.line + 1
            return [self.of(item, (*keys, number)) for number, item in enumerate(node.value)]
        return scalar(node)

    def _mapping(self, node: yaml.MappingNode, keys: Keys) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                name = ".".join(map(str, keys)) or "it"
                self.report(no_mapping(f"{self.path}, line {line}: ", name))
                continue
            key = str(key_node.value)
            if key in found:
                self.report(
                    SettingsError(
                        f"{self.path}, line {line}: {key!r} was already given in line"
                        f" {self.lines[(*keys, key)]}",
                        "keep one of the two",
                    )
                )
                continue
            self.lines[(*keys, key)] = line
            found[key] = self.of(value, (*keys, key))
        return found
