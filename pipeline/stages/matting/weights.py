"""Fetch code and weights once, and check them ever after; nothing unpinned is run.

The cache is torch.hub's (``TORCH_HOME``). Each address has a folder of its own in it: two files of
one name are two files. Beside each weights file stands its sha256 as it was at the first fetch,
because nobody publishes one.

The process that leads a run asks whether all is there: torch, which takes seconds to load, is
loaded only to fetch, and to read.
"""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import os
import queue
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlparse

from pipeline.errors import MachineError, SettingsError
from pipeline.files.npm_package import Package, fetch_files, registry_address
from pipeline.files.pip_wheel import Wheel, fetch_wheel_files
from pipeline.foreign.files import Unreadable, open_regular, read_text

_NETWORK_TIMEOUT_S = 15.0

_LONGEST_RECORD = 1 << 12

#: A name that nobody resolves, or a server of many addresses none of which answers, takes longer
#: than one connection may: so long all of it together, until a machine counts as offline.
ANSWER_TIMEOUT_S = 45.0


#: A server that knows no HEAD is one that answers.
_NO_HEAD = (405, 501)


def hub_folder() -> Path:
    """`torch.hub.get_dir()`, without torch."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("TORCH_HOME", f"{cache}/torch")).expanduser() / "hub"


def compiled_folder() -> Path:
    """Where compiled networks are kept: beside torch.hub's own cache (`TORCH_HOME`)."""
    return hub_folder().parent / "vrmatte"


def fetch_repository(repository: str, setting: str, what: str, advice: str) -> Path:
    """The folder of a torch.hub repository: a local one as it is, else fetched to the cache.

    Args:
        repository: a folder, or ``owner/name:ref``.
        setting: which setting names it, ``"matting.rvm_repo"``.
        what: what it is, in words.
        advice: what to do where it cannot be had.

    Raises:
        MachineError: it is not in the cache and cannot be fetched.
        SettingsError: it is neither.
    """
    folder = Path(repository).expanduser()
    if folder.is_dir():
        if not (folder / "hubconf.py").is_file():
            raise SettingsError(f"{folder} has no hubconf.py", f"check {setting}")
        return folder.absolute()
    address = repository_address(repository)
    if address is None:
        raise SettingsError(f"{setting} {repository!r} is neither a folder nor owner/name:ref")
    cached = _cached_repository(repository)
    with _fetching(hub_folder(), what, repository, advice):
        if not (cached / "hubconf.py").is_file():
            _require_answer(address)
            import torch

            # hub.list fetches and unpacks; calling an entry point would fetch weights as well.
            torch.hub.list(repository, skip_validation=True, trust_repo=True, verbose=False)  # type: ignore[no-untyped-call]
    if not (cached / "hubconf.py").is_file():
        raise MachineError(f"torch.hub left nothing at {cached}", advice)
    return cached


def fetch_file(source: str, what: str, advice: str, known: Collection[str | None] = ()) -> Path:
    """A local file as it is, or one fetched to the cache, whose sha256 is recorded and checked.

    Args:
        source: a path, or an http(s) address.
        what: what it is, in words.
        advice: what to do where it cannot be had.
        known: sha256 that the file may have. A file that an earlier version kept by its name alone
            serves where it has one of them.

    Raises:
        MachineError: it cannot be fetched, or is not the file it was.
    """
    if is_local(source):
        path = Path(source).expanduser().absolute()
        if not path.is_file():
            raise MachineError(f"there are no weights at {path}", advice)
        return path
    path = _kept_file(source, known)
    with _fetching(path.parent, what, source, advice):
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


def package_folder(package: Package | Wheel) -> Path:
    """Where the files of a package of a registry are kept."""
    last = package.name.rpartition("/")[2]
    return compiled_folder() / f"{last}-{package.version}"


def fetch_package(
    package: Package, registry: str | None, what: str, setting: str, advice: str
) -> None:
    """Have a package's files in its folder.

    Args:
        registry: the address that `setting` names; None: that of npm's own settings.
        what: what they are, in words.
        advice: what to do where they cannot be had.

    Raises:
        MachineError: they cannot be fetched, or are not what is known of them.
    """
    folder = package_folder(package)
    with _fetching(folder, what, f"the npm package {package.name}", advice):
        if package_missing(package, what) is None:
            return
        address = registry_address(registry, package.name.partition("/")[0])
        if address is None:
            raise OSError(f"no npm registry is known: set {setting} or npm_config_registry")
        _require_answer(package.address(address))
        fetch_files(package, address, folder, _NETWORK_TIMEOUT_S)


def fetch_wheel(wheel: Wheel, what: str, advice: str) -> None:
    """Have a wheel's files in its folder.

    Args:
        what: what they are, in words.
        advice: what to do where they cannot be had.

    Raises:
        MachineError: they cannot be fetched, or are not what is known of them.
    """
    folder = package_folder(wheel)
    with _fetching(folder, what, f"the package {wheel.name} of Python's index", advice):
        if package_missing(wheel, what) is not None:
            fetch_wheel_files(wheel, folder, _NETWORK_TIMEOUT_S)


def package_missing(package: Package | Wheel, what: str) -> str | None:
    """Why its files would be fetched, in words; None where they are here and whole."""
    for path, sha256 in package.files.items():
        place = package_folder(package) / Path(path).name
        if not place.is_file():
            return f"{what} are not here"
        if sha256_of(place) != sha256:
            return f"{what} at {place} are damaged"
    return None


def repository_address(repository: str) -> str | None:
    """Where ``owner/name:ref`` is fetched from; None where it is not written so."""
    named = re.fullmatch(r"([\w.-]+)/([\w.-]+):([\w./-]+)", repository)
    return None if named is None else f"https://github.com/{named[1]}/{named[2]}"


def repository_is_here(repository: str) -> bool:
    """Whether `fetch_repository` would fetch nothing."""
    folder = Path(repository).expanduser()
    if not folder.is_dir():
        folder = _cached_repository(repository)
    return (folder / "hubconf.py").is_file()


def file_missing(source: str, what: str, known: Collection[str | None] = ()) -> str | None:
    """Why `fetch_file` would fetch something or fail, in words; None where it would do neither."""
    if is_local(source):
        path = Path(source).expanduser()
        return None if path.is_file() else f"{what} are not at {path}"
    path = _kept_file(source, known)
    if not path.is_file():
        older = _kept_by_name(source)
        return f"{what} are not here" + (
            f" ({older} is of an address that is not known: name it in the settings to use it)"
            if older.is_file()
            else ""
        )
    try:
        recorded = _recorded(path)
    except MachineError as error:
        return error.message
    if recorded is not None and recorded != sha256_of(path):
        return f"{what} at {path}: its sha256 has changed since it was fetched"
    return None


def is_local(source: str) -> bool:
    """Whether it is a path, not an http(s) address."""
    return urlparse(source).scheme not in ("http", "https")


def require_sha256(path: Path, expected: str | None, setting: str) -> None:
    """Raises MachineError where the file is not the one that `setting` asks for."""
    if expected and sha256_of(path) != expected.lower():
        raise MachineError(
            f"{path} has another sha256 than {setting} says", "check the file and the setting"
        )


def sha256_of(path: Path) -> str:
    """Hexadecimal. Raises MachineError: it cannot be read."""
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except Unreadable as error:
        raise error.as_error(MachineError, path) from None


def _cached_repository(repository: str) -> Path:
    """Where torch.hub keeps it."""
    return hub_folder() / re.sub(r"[/:]", "_", repository)


def _kept_file(address: str, known: Collection[str | None]) -> Path:
    """Where the file of an address is, or is to be."""
    older = _kept_by_name(address)
    folder = f"vrmatte-{hashlib.sha256(address.encode()).hexdigest()[:16]}"
    path = older.parent / folder / older.name
    digests = {digest.lower() for digest in known if digest}
    if digests and not path.is_file() and older.is_file() and sha256_of(older) in digests:
        return older
    return path


def _kept_by_name(address: str) -> Path:
    """Where earlier versions kept it, and torch.hub does: whose file it is cannot be told."""
    return hub_folder() / "checkpoints" / (Path(urlparse(address).path).name or "weights")


def _record_of(path: Path) -> Path:
    """Where the sha256 of a fetched file is written down."""
    return path.with_name(f"{path.name}.sha256")


def _check_recorded(path: Path) -> None:
    """Record the sha256 of a file that was just fetched; ever after, insist on it."""
    digest = sha256_of(path)
    recorded = _recorded(path)
    if recorded is None:
        _record_of(path).write_text(f"{digest}  {path.name}\n", encoding="utf-8")
    elif recorded != digest:
        raise MachineError(
            f"{path} is not the file that was fetched: its sha256 has changed",
            f"delete it and {_record_of(path).name} to fetch it again",
        )


def _recorded(path: Path) -> str | None:
    """The sha256 that a file had when it was fetched; None where none was recorded.

    Raises:
        MachineError: the record says none.
    """
    record, advice = _record_of(path), "delete it to have it written anew"
    try:
        words = read_text(record, _LONGEST_RECORD).split()
    except Unreadable as error:
        if error.missing:
            return None
        raise MachineError(error.as_error(MachineError, record).message, advice) from None
    if not words or not re.fullmatch("[0-9a-fA-F]{64}", words[0]):
        raise MachineError(f"{record} holds no sha256", advice)
    return words[0].lower()


def no_answer(address: str, timeout_s: float) -> str | None:
    """Why nothing can be fetched from an address, in words; None where it answers.

    Fetches nothing. A name that nobody resolves may take longer than `timeout_s`.
    """
    question = urllib.request.Request(address, method="HEAD")
    try:
        urllib.request.urlopen(question, timeout=timeout_s).close()
    except urllib.error.HTTPError as error:
        return None if error.code in _NO_HEAD else f"{address} answers {error.code} {error.reason}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"{urlparse(address).netloc or address}: {getattr(error, 'reason', None) or error}"
    return None


def none_answers(asks: Mapping[str, Callable[[], str | None]], within_s: float) -> str | None:
    """Ask several sources at once; None as soon as one answers, else why none does, in words.

    Args:
        asks: by the source's name, what says why it cannot serve, or None where it can.
        within_s: of all of them together; who has not answered until then, does not.
    """
    answers: queue.SimpleQueue[tuple[str, str | None]] = queue.SimpleQueue()

    def ask(name: str) -> None:
        answers.put((name, asks[name]()))

    whys = dict.fromkeys(asks, f"no answer in {within_s:g} s")
    deadline = time.monotonic() + within_s
    for name in asks:
        threading.Thread(target=ask, args=(name,), name=f"ask-{name}", daemon=True).start()
    with suppress(queue.Empty):
        for _ in asks:
            name, why = answers.get(timeout=max(0.0, deadline - time.monotonic()))
            if why is None:
                return None
            whys[name] = why
    return "; ".join(f"{name}: {why}" for name, why in whys.items())


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
def _fetching(folder: Path, what: str, source: str, advice: str) -> Iterator[None]:
    """One fetch at a time on this machine, no longer than a patient person waits."""
    old_timeout = socket.getdefaulttimeout()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".vrmatte.lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            socket.setdefaulttimeout(_NETWORK_TIMEOUT_S)
            yield
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise MachineError(f"{what} cannot be fetched from {source} ({error})", advice) from error
    finally:
        socket.setdefaulttimeout(old_timeout)
