"""A process's log: JSON lines in its own file, made in the process that writes them.

Both `structlog.get_logger()` and the standard library's loggers, with Python's warnings, end here.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import structlog
from structlog.typing import Processor

_SHARED: tuple[Processor, ...] = (
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
    path.parent.mkdir(parents=True, exist_ok=True)
    # Opened for appending and written a line at a time: two lives' lines never mix.
    handler = logging.StreamHandler(path.open("a", encoding="utf-8", buffering=1))
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
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(True)
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    logger: structlog.BoundLogger = structlog.get_logger("vrmatte").bind(pid=os.getpid(), **always)
    return logger


def silence_terminal(path: Path) -> None:
    """Send what this process and its libraries print, by whatever way, to `path` instead."""
    path.parent.mkdir(parents=True, exist_ok=True)
    target = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    sys.stdout.flush()
    sys.stderr.flush()
    for stream in (1, 2):
        os.dup2(target, stream)
    os.close(target)
