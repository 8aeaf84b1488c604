"""Finds the line that says why ffmpeg failed, among those that only pass the failure on."""

from __future__ import annotations

import re

#: FFmpeg 9 ends with lines such as these, whatever went wrong. Some name an error all the same, and
#: are taken where nothing else was said.
_PASSED_ON = (
    "Conversion failed!",
    "Task finished with error code",
    "Terminating thread with return code",
    "Error sending frames to consumers",
    "Nothing was written into output file",
    "Error while opening encoder",
    "Could not open encoder before EOF",
    "Error opening output file",
    "Error opening input file",
    "Error reinitializing filters",
    "Error while filtering",
    "Error initializing",
    "Error selecting an encoder",
    "Error submitting a packet to the muxer",
    "Error muxing a packet",
    "Error writing trailer",
    "Error closing file",
    "Last message repeated",
)

#: ``[dec:aac @ 0x55b7f7ab4c80] ``: which part of ffmpeg speaks.
_SPEAKER = re.compile(r"\[([^\[\]@]+) @ 0x[0-9a-f]+\] ")


def cause_of(messages: str) -> str:
    """The last line that is not merely passed on; else the first one; "" if there is none.

    The addresses in it are removed, so that the same failure has the same words each time.
    """
    lines = [line.strip() for line in messages.splitlines() if line.strip()]
    said = [_SPEAKER.sub("", line) for line in lines]
    causes = [
        line for line, bare in zip(lines, said, strict=True) if not bare.startswith(_PASSED_ON)
    ]
    line = causes[-1] if causes else next(iter(lines), "")
    speakers = _SPEAKER.findall(line)
    bare = _SPEAKER.sub("", line)
    return f"{speakers[-1]}: {bare}" if speakers else bare
