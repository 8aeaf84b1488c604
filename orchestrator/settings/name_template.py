"""``{stem}_{model}{tags}``: a person's template for the names of outputs.

What follows is the program's: the ending of the format, by which an output is known for one
whatever the template says.
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass

from pipeline.vr_tags.in_names import read_tags

DEFAULT_TEMPLATE = "{stem}{tags}"

#: What exFAT and NTFS refuse, beside control characters and slashes:
#: https://learn.microsoft.com/windows/win32/fileio/naming-a-file.
#: (No name ends with a dot or a space: its format's ending is the last.)
_BAD = '<>:"|?*'
_RESERVED = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9¹²³]) *(\.|$)", re.IGNORECASE)

_FIELDS = ("stem", "model", "tags")
#: Of the text beside the fields.
_LONGEST_BYTES = 64
#: The room that is kept for the name of a model; a longer one may still fit.
_MODEL_BYTES = 24


@dataclass(frozen=True, slots=True)
class NameTemplate:
    """A template that was read.

    Attributes:
        parts: pairs of a text and the field behind it, if there is one, in order.
    """

    parts: tuple[tuple[str, str | None], ...]

    @property
    def tagged(self) -> bool:
        """Whether names have the tags that players look for."""
        return "tags" in self._fields

    @property
    def extra_bytes(self) -> int:
        """About how much longer a name is than by the default template."""
        text = sum(len(literal.encode()) for literal, _ in self.parts)
        return text + _MODEL_BYTES * ("model" in self._fields)

    def filled(self, stem: str, model: str) -> str:
        """A name without its tags, which are the last field, and without its ending."""
        values = {"stem": stem, "model": model, "tags": "", None: ""}
        return "".join(literal + values[name] for literal, name in self.parts)

    @property
    def _fields(self) -> list[str]:
        return [name for _, name in self.parts if name is not None]


def name_template(text: str) -> NameTemplate:
    """Read a template. Raises ValueError: it is none; the message says why."""
    known = ", ".join(f"{{{name}}}" for name in _FIELDS)
    try:
        found = list(string.Formatter().parse(text))
    except ValueError:
        raise ValueError(f"its braces do not match; its fields are {known}") from None
    for _, name, form, conversion in found:
        if name is not None and (name not in _FIELDS or form or conversion):
            raise ValueError(f"it has a field that there is not; its fields are {known}")
    template = NameTemplate(tuple((literal, name) for literal, name, _, _ in found))
    fields = template._fields
    literals = "".join(literal for literal, _ in template.parts)
    if "stem" not in fields:
        raise ValueError("without {stem} all videos would have one name")
    if len(set(fields)) < len(fields):
        raise ValueError("each field can be in it once")
    if template.tagged and template.parts[-1][1] != "tags":
        raise ValueError("{tags} must be at its end, where players look for them")
    if not literals.isprintable() or "/" in literals or "\\" in literals:
        raise ValueError("it is for names of files: no /, no \\, nothing that cannot be seen")
    if found_bad := sorted(set(literals) & set(_BAD)):
        raise ValueError(f"disks of Windows and of cameras take no {found_bad[0]} in a name")
    if text[0] in "- ":
        raise ValueError("a name that begins with - or a space is taken for something else")
    if _RESERVED.match(template.filled("", "")):
        raise ValueError("Windows keeps such a name for a device")
    if text.startswith("."):
        raise ValueError("a name that begins with a dot is hidden")
    if len(literals.encode(errors="replace")) > _LONGEST_BYTES:
        raise ValueError(f"beside its fields it can have {_LONGEST_BYTES} bytes")
    for near in ("x", "0") if template.tagged else ():  # some are tags only beside a word
        if words := read_tags(template.filled(near, near)).words:
            raise ValueError(f"{words[0]!r} in it is a tag of VR players, which {{tags}} gives")
    return template
