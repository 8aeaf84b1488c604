"""``ADDRESS:PORT`` as a person types it, and the addresses under which a browser finds the page."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_address

from pipeline.errors import SettingsError

DEFAULT = "127.0.0.1:8080"

_FORM = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:/\[\]\s]*)):(\d{1,5})", re.ASCII)
_POD = re.compile(r"[\w-]+", re.ASCII)

#: Of a network for examples (RFC 5737). No packet goes there: it only chooses a route.
_ELSEWHERE = ("192.0.2.1", 9)


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of ``0.0.0.0:8080``, ``[::1]:8080``, ``:8080`` (of this machine alone).

    Raises:
        SettingsError: it has another form.
    """
    match = _FORM.fullmatch(text)
    if match is None or int(match[3]) > 65535:
        raise SettingsError(
            f"--serve: {text!r} is no ADDRESS:PORT",
            f"such as {DEFAULT}, 0.0.0.0:8080, [::1]:8080 or :8080",
        )
    return match[1] or match[2] or DEFAULT.partition(":")[0], int(match[3])


def page_addresses(
    bound: tuple[str, int], token: str, environment: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Where the page is found: whose view it is (may be empty), and the address.

    Args:
        bound: IP address and port that the server listens on.
        environment: of this process; in a pod of RunPod's it names the pod.
    """
    host, port = bound
    listens = ip_address(host)
    found = []
    if not listens.is_loopback and _POD.fullmatch(pod := environment.get("RUNPOD_POD_ID", "")):
        # https://docs.runpod.io/pods/configuration/expose-ports
        found.append(("through RunPod", f"https://{pod}-{port}.proxy.runpod.net"))
    if listens.is_unspecified:
        found.append(("on this machine", f"http://127.0.0.1:{port}"))
        if own := _own_address():
            found.append(("in its network", f"http://{own}:{port}"))
    else:
        shown = f"[{host}]" if listens.version == 6 else host
        found.append(("", f"http://{shown}:{port}"))
    return [(whose, f"{address}/?token={token}") for whose, address in found]


def _own_address() -> str | None:
    """This machine's address in the network that leads elsewhere; None if none does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused, suppress(OSError):
        unused.connect(_ELSEWHERE)
        return str(unused.getsockname()[0])
    return None
