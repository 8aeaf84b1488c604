"""structlog, imported without rich: every import of structlog in these packages goes here.

For the tracebacks of a development console, which nothing here uses, structlog imports rich where
that is installed: more than half of the CPU time of its import, in every process that logs
(docs/benchmarks/010-worker-start.md).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _without_rich() -> Iterator[None]:
    """In the block, rich cannot be imported, unless it has been."""
    if "rich" in sys.modules:
        yield
        return
    sys.modules["rich"] = None  # type: ignore[assignment]  # Python's own way to say so
    try:
        yield
    finally:
        del sys.modules["rich"]


with _without_rich():
    import structlog
    import structlog.typing

__all__ = ["structlog"]
