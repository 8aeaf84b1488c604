"""The addresses of ``--notify``: checked when settings are read, so that no run ends unheard."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

#: How addresses are written, for messages.
ADDRESS_FORMS = "ntfy:TOPIC, ntfy:https://SERVER/TOPIC or https://HOST/PATH"

_NTFY = "ntfy:"
_NTFY_SERVER = "https://ntfy.sh/"
#: https://docs.ntfy.sh/publish/, "Picking a topic".
_TOPIC = re.compile(r"[-_A-Za-z0-9]{1,64}")
_LONGEST = 2000
#: RFC 1035, 2.3.4; _ is in names that routers and containers give.
_LABEL = re.compile(r"(?!-)[-_A-Za-z0-9]{1,63}(?<!-)")
_LONGEST_HOST = 253


@dataclass(frozen=True, slots=True)
class Address:
    """Where a message is posted.

    Attributes:
        url: http or https.
        is_ntfy: it takes a text, with headers of ntfy's; others take JSON.
    """

    url: str
    is_ntfy: bool

    @property
    def host(self) -> str:
        """What may be shown of it: the rest can be as good as a password."""
        return urlsplit(self.url).hostname or ""


def address_of(text: str) -> Address:
    """Read an address. Raises ValueError: it is none; the message says why."""
    is_ntfy = text.startswith(_NTFY)
    url = text.removeprefix(_NTFY)
    if is_ntfy and "/" not in url:
        url = _NTFY_SERVER + url
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"it should be {ADDRESS_FORMS}")
    if len(url) > _LONGEST or not re.fullmatch(r"[!-~]+", url):
        raise ValueError(f"an address has at most {_LONGEST} characters, of ASCII, and no spaces")
    if "@" in url.partition("//")[2].partition("/")[0] or "#" in url:
        raise ValueError("a user name, a password or a #fragment cannot be part of an address")
    try:
        parts = urlsplit(url)
        known = bool(parts.hostname) and parts.port != 0
    except ValueError:
        known = False
    if not known or not _is_host(str(parts.hostname)):
        raise ValueError("it names no host or no port that there can be")
    if is_ntfy and not _TOPIC.fullmatch(parts.path.rpartition("/")[2]):
        raise ValueError("a topic of ntfy has 1 to 64 letters, digits, - and _")
    return Address(url, is_ntfy)


def _is_host(host: str) -> bool:
    """Whether a name server could know it, or it is the number of a machine."""
    labels = host.removesuffix(".").split(".")
    if ":" in host or all(label.isdigit() for label in labels):
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return False
        return True
    return len(host) <= _LONGEST_HOST and all(map(_LABEL.fullmatch, labels))
