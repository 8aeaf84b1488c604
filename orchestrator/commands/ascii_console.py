"""A console for terminals that were said to show ASCII only, as by ``LANG=C``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.status import Status

#: Values of a locale that promise nothing beyond ASCII.
_PLAIN = ("C", "POSIX")


class AsciiConsole(Console):
    """Draws bars, boxes and spinners in ASCII. Names of files are shown as they are."""

    @property
    def encoding(self) -> str:
        return "ascii"

    def status(self, *args: Any, spinner: str = "line", **kwargs: Any) -> Status:
        return super().status(*args, spinner=spinner, **kwargs)


def asked_for(environment: Mapping[str, str]) -> bool:
    """Whether somebody has chosen a locale that knows ASCII only.

    Python writes UTF-8 whatever the locale (PEP 538, PEP 540), so streams do not tell. A pod often
    has no locale at all, and its visitors' terminals know UTF-8: there nobody has chosen.
    """
    # LC_CTYPE is passed over where Python itself made it C.UTF-8 of LANG=C (PEP 538).
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        value = environment.get(name, "")
        if value and not (name == "LC_CTYPE" and value.upper() in ("C.UTF-8", "C.UTF8", "UTF-8")):
            return value in _PLAIN
    return False
