"""Code and weights from elsewhere: fetched once, checked ever after, never run unpinned.

The cache is torch.hub's (``TORCH_HOME``). Beside each weights file stands its sha256 as it was at
the first fetch, because nobody publishes one.

The process that leads a run asks whether all is there: torch, which takes seconds to load, is
loaded only to fetch, and to read.
"""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import os
import re
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING
from urllib.parse import urlparse

from pipeline.contract import MattingSettings
from pipeline.errors import MachineError, SettingsError

if TYPE_CHECKING:
    from torch import Tensor

_RVM_RELEASE = "https://github.com/PeterL1n/RobustVideoMatting/releases/download/v1.0.0"
_NETWORK_TIMEOUT_S = 15.0

#: A name that nobody resolves, or a server of many addresses none of which answers, takes longer
#: than one connection may: so long all of it together, until a machine counts as offline.
ANSWER_TIMEOUT_S = 45.0
_WHAT_TO_DO = (
    "run `vrmatte models fetch` where there is a network, or set matting.rvm_repo and "
    "matting.rvm_weights to local copies, or choose --model chroma, plate or depth (for sam2: "
    "one of these as matting.sam2_seed and matting.sam2_edge)"
)


def fetch_rvm(matting: MattingSettings) -> tuple[Path, Path]:
    """Have RVM's code and weights; their places. Raises MachineError, SettingsError."""
    return fetch_code(matting.rvm_repo), fetch_weights(matting)


def hub_folder() -> Path:
    """`torch.hub.get_dir()`, without torch."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("TORCH_HOME", f"{cache}/torch")).expanduser() / "hub"


def compiled_folder() -> Path:
    """Where compiled networks are kept: beside torch.hub's own cache (`TORCH_HOME`)."""
    return hub_folder().parent / "vrmatte"


def fetch_code(repository: str) -> Path:
    """The folder of a torch.hub repository: a local one as it is, else fetched to the cache.

    Args:
        repository: a folder, or ``owner/name:ref``.

    Raises:
        MachineError: it is not in the cache and cannot be fetched.
        SettingsError: it is neither.
    """
    folder = Path(repository).expanduser()
    if folder.is_dir():
        if not (folder / "hubconf.py").is_file():
            raise SettingsError(f"{folder} has no hubconf.py", "check matting.rvm_repo")
        return folder.absolute()
    named = re.fullmatch(r"([\w.-]+)/([\w.-]+):([\w./-]+)", repository)
    if not named:
        raise SettingsError(
            f"matting.rvm_repo {repository!r} is neither a folder nor owner/name:ref"
        )
    hub = hub_folder()
    owner, name, ref = named.groups()
    cached = hub / "_".join([owner, name, ref]).replace("/", "_")
    with _fetching(hub, "RVM's code", repository):
        if not (cached / "hubconf.py").is_file():
            _require_answer(f"https://github.com/{owner}/{name}")
            import torch

            # hub.list fetches and unpacks; calling an entry point would fetch weights as well.
            torch.hub.list(repository, skip_validation=True, trust_repo=True, verbose=False)  # type: ignore[no-untyped-call]
    if not (cached / "hubconf.py").is_file():
        raise MachineError(f"torch.hub left nothing at {cached}", _WHAT_TO_DO)
    return cached


def fetch_weights(matting: MattingSettings) -> Path:
    """The weights file: a local one, or fetched to the cache; its sha256 is checked.

    Raises:
        MachineError: it cannot be fetched, or is not the file it was.
    """
    source = matting.rvm_weights or f"{_RVM_RELEASE}/rvm_{matting.rvm_variant}.pth"
    path = fetch_file(source, "RVM's weights", _WHAT_TO_DO)
    require_sha256(path, matting.rvm_weights_sha256, "matting.rvm_weights_sha256")
    return path


def fetch_file(source: str, what: str, advice: str) -> Path:
    """A local file as it is, or one fetched to the cache, whose sha256 is recorded and checked.

    Args:
        source: a path, or an http(s) address.
        what: what it is, in words.
        advice: what to do where it cannot be had.

    Raises:
        MachineError: it cannot be fetched, or is not the file it was.
    """
    if urlparse(source).scheme not in ("http", "https"):
        path = Path(source).expanduser().absolute()
        if not path.is_file():
            raise MachineError(f"there are no weights at {path}", advice)
        return path
    checkpoints = hub_folder() / "checkpoints"
    path = checkpoints / Path(urlparse(source).path).name
    with _fetching(checkpoints, what, source, advice):
        if not path.is_file():
            _require_answer(source)
            import torch

            draft = path.with_name(f".{path.name}.{os.getpid()}.part")
            try:
                torch.hub.download_url_to_file(source, str(draft), progress=False)
                draft.replace(path)
            finally:
                draft.unlink(missing_ok=True)
        _check_recorded(path)
    return path


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors by name, on the CPU; nothing in the file is run. Raises MachineError."""
    import torch

    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, UnpicklingError, EOFError, ValueError) as error:
        raise MachineError(
            f"{path} is no file of weights that can be read safely",
            "check matting.rvm_weights, or delete the file to have it fetched again",
        ) from error
    if not isinstance(loaded, dict) or not all(
        isinstance(v, torch.Tensor) for v in loaded.values()
    ):
        raise MachineError(f"{path} holds no plain state_dict", "check matting.rvm_weights")
    return dict(loaded)


def require_sha256(path: Path, expected: str | None, setting: str) -> None:
    """Raises MachineError where the file is not the one that `setting` asks for."""
    if expected and sha256_of(path) != expected.lower():
        raise MachineError(
            f"{path} has another sha256 than {setting} says", "check the file and the setting"
        )


def sha256_of(path: Path) -> str:
    """Hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_recorded(path: Path) -> None:
    """Record the sha256 of a file that was just fetched; ever after, insist on it."""
    record = path.with_name(f"{path.name}.sha256")
    digest = sha256_of(path)
    if not record.exists():
        record.write_text(f"{digest}  {path.name}\n")
    elif record.read_text().split()[0] != digest:
        raise MachineError(
            f"{path} is not the file that was fetched: its sha256 has changed",
            f"delete it and {record.name} to fetch it again",
        )


def _require_answer(address: str) -> None:
    """Raises OSError where nobody answers in time; whatever is answered will do."""
    answered: list[Exception | None] = []

    def ask() -> None:
        question = urllib.request.Request(address, method="HEAD")
        try:
            urllib.request.urlopen(question, timeout=_NETWORK_TIMEOUT_S).close()
        except urllib.error.HTTPError:
            answered.append(None)
        except (OSError, ValueError, http.client.HTTPException) as error:
            answered.append(error)
        else:
            answered.append(None)

    asking = threading.Thread(target=ask, name="network", daemon=True)
    asking.start()
    asking.join(ANSWER_TIMEOUT_S)
    if not answered:
        raise TimeoutError(f"no answer in {ANSWER_TIMEOUT_S:.0f} s")
    if answered[0] is not None:
        raise OSError(str(answered[0])) from answered[0]


@contextmanager
def _fetching(folder: Path, what: str, source: str, advice: str = _WHAT_TO_DO) -> Iterator[None]:
    """One fetch at a time on this machine, no longer than a patient person waits."""
    old_timeout = socket.getdefaulttimeout()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".vrmatte.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            socket.setdefaulttimeout(_NETWORK_TIMEOUT_S)
            yield
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise MachineError(f"{what} cannot be fetched from {source} ({error})", advice) from error
    finally:
        socket.setdefaulttimeout(old_timeout)
