"""Being a driver of a Ray cluster: is Ray there, does anybody answer, is this machine let in."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from socket import create_connection
from typing import IO

from pipeline.errors import MachineError, SettingsError
from pipeline.text import printable

#: How long the head of the cluster may take to answer at all.
CONNECT_S = 10.0

_START = "`ray start --head` starts one; see Several pods in DEPLOYMENT_GUIDE.md"
_TOKEN = (
    "export RAY_AUTH_MODE=token, and copy ~/.ray/auth_token of the cluster's head here;"
    " see Several pods in DEPLOYMENT_GUIDE.md"
)

#: By this Ray's own log tells that the head wanted another token than it was shown.
_REFUSED = b"InvalidAuthToken"


def require_ray() -> None:
    """See to it that Ray is there, before anything else is done.

    Raises:
        MachineError: it is not.
    """
    try:
        import ray  # noqa: F401
    except ImportError:
        raise MachineError(
            "--backend ray needs Ray, which is not installed here",
            "install the extra `cluster` (pip install 'vrmatte[cluster]') on every node",
        ) from None


def require_answer(address: str) -> None:
    """See that somebody listens there: Ray itself would try for minutes, and print as it does.

    Raises:
        SettingsError: `address` is neither "auto" nor HOST:PORT.
        MachineError: nobody listens.
    """
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise SettingsError(f"--address {printable(address)} is not HOST:PORT", "or say auto")
    try:
        create_connection((host, int(port)), CONNECT_S).close()
    except OSError as error:
        raise _no_cluster(address, error.strerror or str(error)) from error


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Be a driver of the Ray cluster at `address`, as long as it lasts.

    Raises:
        MachineError: Ray is not installed, there is no cluster, or it does not let us in.
    """
    require_ray()
    require_answer(address)
    import ray
    from ray.exceptions import AuthenticationError

    # Else it prints into the progress what the fleet tells better.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "error")
    before = signal.getsignal(signal.SIGTERM)
    with _native_stderr() as heard:
        try:
            ray.init(
                address=address,
                namespace="vrmatte",
                log_to_driver=False,
                configure_logging=False,
            )
        except AuthenticationError as error:
            raise _not_let_in(address) from error
        except (ConnectionError, RuntimeError, ValueError) as error:
            heard.seek(0)
            if _REFUSED in heard.read():
                raise _not_let_in(address) from error
            raise _no_cluster(address, (str(error).splitlines() or [""])[0]) from error
        finally:
            signal.signal(signal.SIGTERM, before)
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _native_stderr() -> Iterator[IO[bytes]]:
    """What libraries write to the process's stderr, past Python, goes to a file meanwhile."""
    with tempfile.TemporaryFile() as heard:
        sys.stderr.flush()
        kept = os.dup(2)
        try:
            os.dup2(heard.fileno(), 2)
            yield heard
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _no_cluster(address: str, why: str) -> MachineError:
    return MachineError(f"no Ray cluster answers at {printable(address)}: {why}", _START)


def _not_let_in(address: str) -> MachineError:
    return MachineError(
        f"the Ray cluster at {printable(address)} asks for a token, and was shown none that it"
        " takes",
        _TOKEN,
    )
