"""``Range: bytes=A-B`` (RFC 9110, section 14): which bytes of a file are asked for."""

from __future__ import annotations

import re

#: Longer numbers are no offset in any file; such a header is ignored, as it may be.
_RANGE = re.compile(r"bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.ASCII | re.IGNORECASE)


class UnsatisfiableError(ValueError):
    """The file has none of the bytes that are asked for."""


def asked_range(header: str | None, size: int) -> range | None:
    """The bytes that a header asks for, as ``range(start, stop)``.

    None: all of the file, because there is no header, it has several ranges or makes no sense.

    Raises:
        UnsatisfiableError: the range has no byte of the file's `size`.
    """
    match = None if header is None else _RANGE.fullmatch(header.strip())
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:  # so many of the last bytes
        start, stop = max(0, size - int(match[2])), size
    else:
        start = int(match[1])
        last = int(match[2]) if match[2] else size - 1
        if match[2] and last < start:
            return None
        stop = min(last + 1, size)
    if start >= stop:
        raise UnsatisfiableError
    return range(start, stop)
