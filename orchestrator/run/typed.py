"""The command line as it was typed, fit to stand in a report that is sent to others."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import PurePath

from orchestrator.settings.changed import without_passwords
from pipeline.text import printable

#: Options whose values are nobody else's business: whoever knows them can read messages, or more.
_HIDDEN = ("--on-done", "--notify")


def typed(argv: Sequence[str]) -> str:
    """The arguments of this process as a line that a shell takes.

    What `--on-done` runs and whom `--notify` tells is left out; so are passwords in addresses.
    """
    shown, hide = [PurePath(argv[0]).name if argv else ""], False
    for argument in argv[1:]:
        if hide:
            argument = "..."
        elif argument.startswith(tuple(f"{name}=" for name in _HIDDEN)):
            argument = f"{argument.partition('=')[0]}=..."
        hide = argument in _HIDDEN
        shown.append(without_passwords(printable(argument)))
    return shlex.join(shown)
