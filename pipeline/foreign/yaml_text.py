"""Reads YAML of others: bounded in depth, in values and in time; plain values only.

Depth and aliases are checked as the parser reads, before anything is built of it. libyaml reads
where it is there: in Python alone a megabyte takes 15 s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from pipeline.foreign.files import Unreadable

#: A number of more characters is none that is counted or measured; `1:1:1:…`, base 60, takes
#: time that grows with its square.
MOST_CHARACTERS = 40

_MAP, _LIST, _TEXT = (f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str"))
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_SCALARS = (
    _TEXT,
    *_NUMBERS,
    *(f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "timestamp")),
)
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

#: libyaml refuses half a character, which is how Python writes a name that is no UTF-8. Where
#: aliases are taken, in our own files, Python reads it.
_HALF = "invalid Unicode character escape code"

#: What begins with a star is an alias to YAML.
QUOTES = """put what begins with * in quotes: match: "*green*\""""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a text may hold.

    Attributes:
        depth: of lists and mappings in each other.
        values: of all kinds together, those of aliases as often as they are named.
        aliases: whether there may be any (``*name``).
    """

    depth: int = 16
    values: int = 1_000_000
    aliases: bool = False


def parse_yaml(text: str, bounds: Bounds = Bounds()) -> Any:
    """The value in a text of YAML, one document; None in an empty one.

    Raises:
        Unreadable: it is no YAML, is beyond the bounds, names a key twice, or has tags; with the
            line.
    """
    root = compose(text, bounds)
    return None if root is None else _value(root)


def compose(text: str, bounds: Bounds = Bounds()) -> yaml.Node | None:
    """The nodes of a text of YAML, with their lines; None in an empty one. Raises Unreadable."""
    try:
        return _compose(text, bounds, _LOADER)
    except yaml.YAMLError as error:
        if not (bounds.aliases and _HALF in str(error)):
            raise _no_yaml(error, text) from None
    try:
        return _compose(text, bounds, yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise _no_yaml(error, text) from None


def _compose(text: str, bounds: Bounds, loader: Any) -> yaml.Node | None:
    building = _Building(bounds)
    try:
        for event in yaml.parse(text, Loader=loader):
            building.take(event)
    except UnicodeEncodeError:  # half a character, which JSON may hold
        raise Unreadable("is not YAML: it holds a character that is none") from None
    return building.root


def scalar(node: yaml.Node) -> Any:
    """The value of a node that is neither a mapping nor a list.

    Raises:
        Unreadable: it is one that has a tag, or the text is no value of its kind; with the line.
    """
    line = node.start_mark.line + 1
    if not isinstance(node, yaml.ScalarNode) or node.tag not in _SCALARS:
        kind = node.tag.rpartition(":")[2]
        raise Unreadable(f"is not YAML that is taken here: the tag {kind}", "leave it out", line)
    if node.tag == _TEXT:
        return node.value
    if node.tag in _NUMBERS and len(node.value) > MOST_CHARACTERS:
        raise Unreadable(
            f"holds a number of {len(node.value)} characters, which is too large",
            "put text in quotes",
            line,
        )
    try:
        return SafeConstructor().construct_object(node)
    except Exception as error:  # of any kind: `!!int ''` is an IndexError, `!!bool x` a KeyError
        why = getattr(error, "problem", None) or str(error) or type(error).__name__
        raise Unreadable(f"is no value of YAML: {why}", "put it in quotes", line) from None


def _value(node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode) and node.tag == _LIST:
        return [_value(item) for item in node.value]
    if not (isinstance(node, yaml.MappingNode) and node.tag == _MAP):
        return scalar(node)
    found: dict[Any, Any] = {}
    for key_node, value in node.value:
        key = scalar(key_node)
        if key in found:
            line = key_node.start_mark.line + 1
            raise Unreadable(f"names {key!r} twice in one place", "keep one of the two", line)
        found[key] = _value(value)
    return found


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not come; keys and values by turns in a mapping."""

    node: yaml.CollectionNode
    anchor: str | None
    parts: list[yaml.Node] = field(default_factory=list)
    weight: int = 1


@dataclass(slots=True)
class _Building:
    """Makes nodes of events. No step depends on the depth, so that any depth can be told."""

    bounds: Bounds
    root: yaml.Node | None = None
    open: list[_Open] = field(default_factory=list)
    known: dict[str, tuple[yaml.Node, int]] = field(default_factory=dict)
    values: int = 0
    resolve: Callable[..., Any] = field(default_factory=lambda: Resolver().resolve)

    def take(self, event: yaml.Event) -> None:
        line = 1 if event.start_mark is None else event.start_mark.line + 1
        match event:
            case yaml.DocumentStartEvent() if self.root is not None:
                raise Unreadable("is a second document", "keep one in a file", line)
            case yaml.AliasEvent():
                self._alias(event, line)
            case yaml.ScalarEvent():
                tag = event.tag
                if tag is None or tag == "!":
                    tag = self.resolve(yaml.ScalarNode, event.value, event.implicit)
                node = yaml.ScalarNode(tag, event.value, *_marks(event))
                self._add(node, 1, event.anchor, line)
            case yaml.SequenceStartEvent():
                self._begin(yaml.SequenceNode, _LIST, event, line)
            case yaml.MappingStartEvent():
                self._begin(yaml.MappingNode, _MAP, event, line)
            case yaml.CollectionEndEvent():
                self._end()

    def _alias(self, event: yaml.AliasEvent, line: int) -> None:
        if not self.bounds.aliases:
            raise Unreadable("names an alias; aliases (*name) are not taken", QUOTES, line)
        if event.anchor not in self.known:  # or one of a list that it is in itself
            raise Unreadable(f"names *{event.anchor}, which is not there yet", "", line)
        node, weight = self.known[event.anchor]
        self._add(node, weight, None, line)

    def _begin(
        self,
        kind: type[yaml.CollectionNode],
        usual: str,
        event: yaml.CollectionStartEvent,
        line: int,
    ) -> None:
        if len(self.open) >= self.bounds.depth:
            raise Unreadable("is nested too deeply", "write plain `key: value` lines", line)
        tag = usual if event.tag in (None, "!") else event.tag
        node = kind(tag, [], *_marks(event))
        self.open.append(_Open(node, event.anchor))

    def _end(self) -> None:
        done = self.open.pop()
        done.node.value = done.parts
        if isinstance(done.node, yaml.MappingNode):
            done.node.value = list(zip(done.parts[::2], done.parts[1::2], strict=True))
        self._add(done.node, done.weight, done.anchor, done.node.start_mark.line + 1)

    def _add(self, node: yaml.Node, weight: int, anchor: str | None, line: int) -> None:
        self.values += 1
        if weight > self.bounds.values or self.values > self.bounds.values:
            raise Unreadable(
                f"is too long: {self.bounds.values} values are the most", "is it the right file?"
            )
        if anchor is not None and self.bounds.aliases:
            self.known[anchor] = (node, weight)
        if self.open:
            self.open[-1].parts.append(node)
            self.open[-1].weight += weight
        else:
            self.root = node


def _marks(event: yaml.Event) -> tuple[Any, Any]:
    return event.start_mark, event.end_mark


def _no_yaml(error: yaml.YAMLError, text: str) -> Unreadable:
    mark: yaml.Mark | None = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "what is it?"
    advice = "check the indentation and the colons"
    if getattr(error, "context", None) == "while scanning an alias":
        advice = QUOTES
    if mark is None:
        return Unreadable(f"is not YAML: {problem}", advice)
    line = next(iter(text.splitlines()[mark.line : mark.line + 1]), "")
    if line[mark.column : mark.column + 1] == "\t":
        problem, advice = "a tab", "YAML takes no tabs: indent with spaces"
    return Unreadable(f"is not YAML: {problem}", advice, mark.line + 1)
