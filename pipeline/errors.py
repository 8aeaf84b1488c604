"""The errors of vrmatte, and the form in which one crosses processes.

Every error a person can cause says what is wrong, where, and what to do, in one line each.
"""

from __future__ import annotations

import traceback
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import ClassVar


class VrmatteError(Exception):
    """An error that was foreseen.

    Args:
        message: what is wrong, and where, in one line.
        advice: what to do about it, in one line; may be empty.
    """

    kind: ClassVar[str] = "error"

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice

    def __reduce__(self) -> tuple[type[VrmatteError], tuple[str, str]]:
        return type(self), (self.message, self.advice)

    def __str__(self) -> str:
        return f"{self.message} ({self.advice})" if self.advice else self.message


class InputError(VrmatteError):
    """The source file cannot be used; trying again will not help."""

    kind = "input"


class SettingsError(VrmatteError):
    """A setting or an option is wrong: the command ends with status 2."""

    kind = "settings"


class MachineError(VrmatteError):
    """This machine cannot do what was asked (no GPU, no weights, no FFmpeg): status 3."""

    kind = "machine"


class DecodeError(VrmatteError):
    """The decoder failed on a file that the probe took; tried again on the CPU."""

    kind = "decode"


class ResourceError(VrmatteError):
    """Memory ran out: tried again with smaller chunks, then with nothing beside it."""

    kind = "resource"


class SessionRefused(ResourceError):
    """NVENC has no session left at the moment: the segment waits until one is free."""

    kind = "session"

    @classmethod
    def of(cls, said: str) -> SessionRefused:
        """`said`: the library's own words."""
        return cls(
            f"NVENC gives no further session: {said}",
            "end other programs that encode on this GPU, use fewer lanes (streaming.lanes), or set"
            " encoding.encoder: software",
        )


class DiskError(VrmatteError):
    """A disk of the run is full, read-only or gone: the whole run stops, and can go on later."""

    kind = "disk"


class LocalFolderError(DiskError):
    """The same of a local folder: other workers may have another; without them the run stops."""

    kind = "local-folder"


class OutputError(DiskError):
    """One place in OUT takes no file though others do: its video is set aside, the run goes on."""

    kind = "output"


class EncodeError(VrmatteError):
    """The encoder failed, or what it wrote is not what it was given."""

    kind = "encode"


class SoundFault(EncodeError):
    """A track of the source cannot be had; the picture and the other tracks can.

    Args:
        streams: why streams of the source are to be left out, by their indexes.
        shorter: of those that end earlier than their packets do, because the last ones are damaged.
    """

    def __init__(
        self,
        message: str,
        advice: str = "",
        streams: Mapping[int, str] | None = None,
        shorter: Collection[int] = (),
    ) -> None:
        super().__init__(message, advice)
        self.streams = dict(streams or {})
        self.shorter = frozenset(shorter)


class SegmentsDamaged(VrmatteError):
    """Finished segments are not what they were when they were committed: they are made again.

    Args:
        segments: their numbers.
    """

    kind = "damaged"

    def __init__(self, message: str, advice: str = "", segments: tuple[int, ...] = ()) -> None:
        super().__init__(message, advice)
        self.segments = segments


class DeviceError(VrmatteError):
    """The device is in an unknown state: the process must be replaced."""

    kind = "device"


class Stopped(VrmatteError):
    """The work was dropped because the run is to stop; nobody's fault."""

    kind = "stopped"


@dataclass(frozen=True, slots=True)
class ErrorRecord:
    """An error as it is reported, journaled and shown.

    Attributes:
        kind: the `kind` of the error's class, or ``"unforeseen"``.
        message: one line.
        advice: one line, or empty.
        detail: the traceback, for the log only.
    """

    kind: str
    message: str
    advice: str = ""
    detail: str = ""

    @classmethod
    def of(cls, error: BaseException) -> ErrorRecord:
        detail = "".join(traceback.format_exception(error))
        if isinstance(error, VrmatteError):
            return cls(error.kind, error.message, error.advice, detail)
        first_line = (str(error).splitlines() or [""])[0]
        return cls("unforeseen", f"{type(error).__name__}: {first_line}", "", detail)

    def __str__(self) -> str:
        return f"{self.message} ({self.advice})" if self.advice else self.message
