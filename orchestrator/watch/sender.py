"""Post messages to the addresses of ``--notify``. Never holds up the run, and never fails it."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import version

from orchestrator.settings.notify_address import Address, address_of
from orchestrator.watch.notices import Notice
from pipeline.structlog_import import structlog
from pipeline.text import printable

#: A message that is not taken by then is given up, and tried this often within it.
DEADLINE_S = 10.0
_ATTEMPTS = 2

#: From here on the fault is the server's, and may be gone soon.
_SERVER_ERROR = 500


class Sender:
    """Posts messages in threads.

    Args:
        addresses: as the settings hold them.
        say: takes a line for the terminal, from any thread.
    """

    def __init__(
        self,
        addresses: Sequence[str] = (),
        say: Callable[[str], object] = lambda line: None,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._addresses = [address_of(text) for text in dict.fromkeys(addresses)]
        self._say = say
        self._deadline_s = deadline_s
        self._under_way: dict[threading.Thread, Address] = {}

    def post(self, notices: Sequence[Notice]) -> None:
        """Send these in order; returns at once."""
        for address in self._addresses:
            thread = threading.Thread(
                target=self._deliver, args=(address, notices), name="notify", daemon=True
            )
            self._under_way[thread] = address
            thread.start()

    def finish(self) -> None:
        """Wait until all are sent, or the deadline for it has passed.

        Ctrl-C ends the wait and nothing else: the work is over.
        """
        deadline = time.monotonic() + self._deadline_s
        with suppress(KeyboardInterrupt):
            for thread in self._under_way:
                thread.join(max(0.0, deadline - time.monotonic()))
        for thread, address in self._under_way.items():
            if thread.is_alive():
                self._complain(address, f"no answer within {self._deadline_s:.0f} s")
        self._under_way.clear()

    def _deliver(self, address: Address, notices: Sequence[Notice]) -> None:
        for notice in notices:
            trouble = _post(address, notice, self._deadline_s / _ATTEMPTS)
            if trouble and threading.current_thread() in self._under_way:  # or it has been said
                self._complain(address, trouble)

    def _complain(self, address: Address, why: str) -> None:
        structlog.get_logger("vrmatte").warning("not_notified", host=address.host, why=why)
        self._say(printable(f"notify: {address.host} was sent no message: {why}"))


def _post(address: Address, notice: Notice, timeout_s: float) -> str | None:
    """Post one message, once more where that may help; what went wrong, in words, or None."""
    trouble = None
    for _ in range(_ATTEMPTS):
        trouble, again = _attempt(address, notice, timeout_s)
        if not again:
            break
    return trouble


def _attempt(address: Address, notice: Notice, timeout_s: float) -> tuple[str | None, bool]:
    """What went wrong, and whether another attempt may go better."""
    from urllib.error import HTTPError, URLError  # slow to load, and seldom wanted
    from urllib.request import HTTPRedirectHandler, Request, build_opener

    class NoRedirects(HTTPRedirectHandler):
        """A message would be sent on without its content, as a question for a page."""

        def redirect_request(self, *request: object) -> None:
            return None

    content, headers = _told(address, notice)
    request = Request(address.url, content, headers, method="POST")
    try:
        with build_opener(NoRedirects).open(request, timeout=timeout_s):
            return None, False
    except HTTPError as error:
        with error:
            return f"it answered {error.code} {error.reason}", error.code >= _SERVER_ERROR
    except (URLError, OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        return str(getattr(reason, "strerror", None) or reason or type(reason).__name__), True


def _told(address: Address, notice: Notice) -> tuple[bytes, dict[str, str]]:
    """Content and headers; those of ntfy are in https://docs.ntfy.sh/publish/."""
    headers = {"User-Agent": f"vrmatte/{version('vrmatte')}"}
    if not address.is_ntfy:
        content = json.dumps(notice.as_json(), separators=(",", ":")).encode()
        return content, headers | {"Content-Type": "application/json"}
    return notice.text.encode(), headers | {
        "Content-Type": "text/plain; charset=utf-8",
        "Title": notice.title,
        "Priority": "high" if notice.urgent else "default",
        "Tags": "warning" if notice.urgent else "white_check_mark",
    }
