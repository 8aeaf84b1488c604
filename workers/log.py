"""The log of a process: JSON lines in its own file.

Both `structlog.get_logger()` and the standard library's loggers, with Python's warnings, end here.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from pathlib import Path

from pipeline.structlog_import import structlog

_SHARED: tuple[structlog.typing.Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


def log_to(path: Path, *, level: int = logging.INFO, **always: object) -> structlog.BoundLogger:
    """Let this process log to `path`, after what is there already.

    Args:
        path: the file; its folder is made.
        level: what is less than this is dropped.
        always: fields of every line of the logger that is returned, such as worker and life.
    """
    handler: logging.Handler
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = LineHandler(path)
    except OSError:  # whoever needs the disk for more than words will say what is wrong with it
        handler = logging.NullHandler()
    logging.raiseExceptions = False
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*_SHARED, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(default=str),
            ],
        )
    )
    root = logging.getLogger()
    stop_logging()
    root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(True)
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    logger: structlog.BoundLogger = structlog.get_logger("vrmatte").bind(pid=os.getpid(), **always)
    return logger


def stop_logging() -> None:
    """Let this process log nowhere; the file is closed."""
    logging.captureWarnings(False)
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
        if isinstance(handler, LineHandler):
            handler.close()


class LineHandler(logging.Handler):
    """Appends each record to a file as one line, at once: two lives' lines never mix.

    A full disk loses lines and never raises: nothing is held back, and nothing is tried again.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = path.open("ab", buffering=0)
        self._torn = False

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record).encode(errors="backslashreplace") + b"\n"
            line = b"\n" * self._torn + line
            self._torn = True
            self._torn = self._file.write(line) != len(line)
        except Exception:
            self.handleError(record)  # says nothing; see `log_to`

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
        super().close()


class _Terminal(io.TextIOBase):
    """What Python code of this process prints to: a full disk loses it and never raises."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            os.write(self._descriptor, text.encode(errors="backslashreplace"))
        return len(text)


def silence_terminal(path: Path) -> None:
    """Send what this process and its libraries print, by whatever way, to `path` instead."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        target = os.open(path, flags, 0o644)
    except OSError:
        target = os.open(os.devnull, flags)
    sys.stdout.flush()
    sys.stderr.flush()
    for stream in (1, 2):
        os.dup2(target, stream)
    os.close(target)
    sys.stdout, sys.stderr = _Terminal(1), _Terminal(2)
