"""Weights: recorded at first fetch, checked ever after, never a pickle that runs."""

from __future__ import annotations

import hashlib
import pickle
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from pipeline.contract import MattingSettings, ProcessingSettings
from pipeline.errors import MachineError, SettingsError
from pipeline.stages.matting import weights
from pipeline.stages.matting.base import load_model
from pipeline.stages.matting.rvm.facts import RvmOptions
from pipeline.stages.matting.rvm.weights import fetch_code, fetch_weights, read_state_dict
from pipeline.stages.matting.sam2.facts import Sam2Options
from pipeline.stages.matting.sam2.weights import _PUBLISHED, fetch_checkpoint

URL = "https://example.invalid/rvm_mobilenetv3.pth"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setattr(weights, "_require_answer", lambda address: None)
    return tmp_path / "hub"


def serve(monkeypatch: pytest.MonkeyPatch, content: bytes) -> list[str]:
    """A network that answers every download with `content`; the list of what was asked."""
    asked: list[str] = []

    def download(url: str, target: str, progress: bool = True) -> None:
        asked.append(url)
        Path(target).write_bytes(content)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    return asked


def test_the_cache_is_torch_hubs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    for home, cache in (("/a", "/b"), ("~/a", None), (None, "/b"), (None, None)):
        for name, value in (("TORCH_HOME", home), ("XDG_CACHE_HOME", cache)):
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)
        assert str(weights.hub_folder()) == torch.hub.get_dir()


def test_what_is_there_is_found_without_torch(tmp_path: Path) -> None:
    (tmp_path / "hubconf.py").write_text("")
    (tmp_path / "weights.pth").write_bytes(b"weights")
    program = (
        "import sys\n"
        "import workers.launch\n"
        "from pipeline.stages.matting.fetch import fetch_model\n"
        "from pipeline.contract import MattingSettings\n"
        "folder = sys.argv[1]\n"
        "weights = folder + '/weights.pth'\n"
        "from pipeline.stages.matting.rvm.facts import RvmOptions\n"
        "options = RvmOptions(repo=folder, weights=weights)\n"
        "fetch_model(MattingSettings(options=(options,)))\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    assert subprocess.run(command, check=False).returncode == 0


def test_fetched_once_recorded_and_checked(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = serve(monkeypatch, b"weights")
    options = RvmOptions(weights=URL)
    path = fetch_weights(options)
    assert fetch_weights(options) == path
    assert asked == [URL]
    record = path.with_name(path.name + ".sha256").read_text()
    assert record.split()[0] == hashlib.sha256(b"weights").hexdigest()
    path.write_bytes(b"tampered")
    with pytest.raises(MachineError, match="sha256 has changed"):
        fetch_weights(options)


def test_a_sha256_that_is_set_must_hold(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, b"weights")
    right = hashlib.sha256(b"weights").hexdigest().upper()
    assert fetch_weights(RvmOptions(weights=URL, weights_sha256=right))
    with pytest.raises(MachineError, match="another sha256"):
        fetch_weights(RvmOptions(weights=URL, weights_sha256="0" * 64))


def test_files_of_one_name_from_two_addresses_are_two(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = RvmOptions(weights="https://example.invalid/v2/rvm_mobilenetv3.pth?private")
    serve(monkeypatch, b"official")
    first = fetch_weights(RvmOptions(weights=URL))
    asked = serve(monkeypatch, b"private")
    second = fetch_weights(others)
    assert asked == [others.weights]
    assert (first.read_bytes(), second.read_bytes()) == (b"official", b"private")
    assert first.name == second.name == "rvm_mobilenetv3.pth"


def test_what_an_earlier_version_kept_by_name_serves_where_its_digest_is_known(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = hub / "checkpoints/rvm_mobilenetv3.pth"
    older.parent.mkdir(parents=True)
    older.write_bytes(b"older")
    asked = serve(monkeypatch, b"weights")
    known = RvmOptions(weights=URL, weights_sha256=hashlib.sha256(b"older").hexdigest().upper())
    assert weights.file_missing(URL, "weights", [known.weights_sha256]) is None
    assert fetch_weights(known) == older
    assert asked == []
    missing = weights.file_missing(URL, "weights")
    assert missing is not None
    assert f"are not here ({older} is of an address that is not known" in missing
    assert fetch_weights(RvmOptions(weights=URL)).read_bytes() == b"weights"


def test_a_checkpoint_of_meta_that_was_kept_by_name_is_not_fetched_again(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = hub / "checkpoints/sam2.1_hiera_tiny.pt"
    older.parent.mkdir(parents=True)
    older.write_bytes(b"as if it were Meta's")
    published = hashlib.sha256(older.read_bytes()).hexdigest()
    asked = serve(monkeypatch, b"others")
    assert fetch_checkpoint(Sam2Options(size="tiny")) != older
    monkeypatch.setitem(_PUBLISHED, "small", published)
    older.rename(older.with_name("sam2.1_hiera_small.pt"))
    assert fetch_checkpoint(Sam2Options(size="small")).parent == older.parent
    assert len(asked) == 1


@pytest.mark.parametrize("record", [b"", b"\xff\xfe", b"no digest\n", b"x" * 10_000])
def test_a_record_that_is_damaged_is_told(
    hub: Path, monkeypatch: pytest.MonkeyPatch, record: bytes
) -> None:
    serve(monkeypatch, b"weights")
    path = fetch_weights(RvmOptions(weights=URL))
    path.with_name(path.name + ".sha256").write_bytes(record)
    with pytest.raises(MachineError, match=r"rvm_mobilenetv3.pth.sha256") as caught:
        fetch_weights(RvmOptions(weights=URL))
    assert "delete it" in caught.value.advice
    assert weights.file_missing(URL, "weights") == caught.value.message


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_a_network_that_swallows_everything_is_given_up_in_time(
    no_proxy: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name is not even resolved; no connection's own time runs out."""
    assert weights.ANSWER_TIMEOUT_S <= 50  # of a minute; the rest is for what loads before
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(weights, "ANSWER_TIMEOUT_S", 0.05)
    over, gone = threading.Event(), threading.Event()

    def swallow(*address: object, **options: object) -> list[object]:
        assert over.wait(timeout=60)
        gone.set()
        raise OSError("nobody there")

    monkeypatch.setattr(socket, "getaddrinfo", swallow)
    ways: list[Callable[[], Path]] = [
        lambda: fetch_weights(RvmOptions(weights=URL)),
        lambda: fetch_code(RvmOptions(repo="someone/code:0123abc")),
        lambda: fetch_checkpoint(Sam2Options(size="tiny")),
    ]
    for asked in ways:
        with pytest.raises(MachineError, match=r"cannot be fetched from .*no answer in") as caught:
            asked()
        assert "models fetch" in caught.value.advice
    over.set()
    assert gone.wait(timeout=60)


@pytest.mark.parametrize("says", [b"HTTP/1.1 403 no\r\n\r\n", b"HTTP/1.1 200 ok\r\n\r\n", b""])
def test_whoever_answers_is_asked_further(no_proxy: None, says: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(says)

        answering = pool.submit(answer)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/weights.pth"
        if says:
            weights._require_answer(address)
        else:  # it hangs up
            with pytest.raises(OSError, match="closed connection"):
                weights._require_answer(address)
        answering.result(timeout=60)


@pytest.mark.parametrize(
    ("says", "why"),
    [
        (b"HTTP/1.1 200 ok\r\n\r\n", None),
        (b"HTTP/1.1 405 no HEAD\r\n\r\n", None),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "answers 403 Forbidden"),
        (b"", "closed connection"),
    ],
)
def test_whether_something_can_be_fetched_is_asked_of_its_server(
    no_proxy: None, says: bytes, why: str | None
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:

        def answer() -> bytes:
            connection, _ = server.accept()
            with connection:
                asked = connection.recv(4096)
                connection.sendall(says)
            return asked

        answering = pool.submit(answer)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/weights.pth"
        said = weights.no_answer(address, 60)
        assert answering.result(timeout=60).startswith(b"HEAD "), "nothing is fetched"
    assert (said is None) == (why is None)
    assert why is None or why in str(said)


def test_sources_that_say_nothing_hold_nobody() -> None:
    over = threading.Event()

    def hangs() -> str | None:
        over.wait(timeout=60)
        return None

    try:
        assert weights.none_answers({"hub": hangs, "registry": lambda: None}, 60) is None
        assert weights.none_answers({"hub": hangs, "registry": lambda: "answers 404"}, 0.05) == (
            "hub: no answer in 0.05 s; registry: answers 404"
        )
    finally:
        over.set()


def test_a_cut_off_download_leaves_nothing(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(url: str, target: str, progress: bool = True) -> None:
        Path(target).write_bytes(b"half")
        raise OSError("connection lost")

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    with pytest.raises(MachineError, match="connection lost") as caught:
        fetch_weights(RvmOptions(weights=URL))
    assert "models fetch" in caught.value.advice
    assert not list((hub / "checkpoints").rglob("*rvm*"))


def test_code_comes_pinned_from_the_hub_or_from_a_folder(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(repository: str, **options: object) -> list[str]:
        folder = hub / "someone_code_0123abc"
        folder.mkdir(parents=True)
        (folder / "hubconf.py").touch()
        return []

    monkeypatch.setattr(torch.hub, "list", fetch)
    folder = fetch_code(RvmOptions(repo="someone/code:0123abc"))
    assert folder == hub / "someone_code_0123abc"
    assert (
        fetch_code(RvmOptions(repo="someone/code:0123abc")) == folder
    )  # a second fetch would fail
    assert fetch_code(RvmOptions(repo=str(folder))) == folder
    with pytest.raises(SettingsError, match="no hubconf"):
        fetch_code(RvmOptions(repo=str(tmp_path)))
    with pytest.raises(SettingsError, match="neither"):
        fetch_code(RvmOptions(repo="someone/unpinned"))


def test_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return Path.touch, (canary,)

    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps({"weight": Evil()}, protocol=2))
    with pytest.raises(MachineError, match="read safely"):
        read_state_dict(path)
    assert not canary.exists()


def test_missing_local_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="no weights at"):
        fetch_weights(RvmOptions(weights=str(tmp_path / "none.pth")))


def test_a_model_that_is_not_there_is_named() -> None:
    with pytest.raises(SettingsError, match="no model named 'rvn'") as caught:
        load_model(MattingSettings(model="rvn"), ProcessingSettings(), torch.device("cpu"))
    assert "rvm" in caught.value.advice


HUBCONF = """
dependencies = ["torch"]
from tiny_network import Tiny
def mobilenetv3(pretrained=True, progress=True):
    assert not pretrained
    return Tiny()
"""
NETWORK = '''
import torch
class FastGuidedFilterRefiner(torch.nn.Module):
    pass
class Tiny(torch.nn.Module):
    """Answers as RVM does: alpha counts the frames of the state, foreground is the source."""
    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.zeros(1))
        self.refiner = torch.nn.Linear(1, 1)
    def forward(self, src, r1, r2, r3, r4, ratio):
        b, t = src.shape[:2]
        begin = 0 if r1 is None else r1
        steps = (begin + torch.arange(1, t + 1)).to(src.dtype).view(1, t, 1, 1, 1)
        alpha = (steps * self.gain).expand(b, t, 1, *src.shape[3:])
        return [src, alpha, begin + t, 0, 0, 0]
'''


def test_rvm_keeps_a_state_over_frames_and_takes_both_eyes_as_one_batch(tmp_path: Path) -> None:
    from pipeline.pixels.batches import EyeBatch
    from pipeline.stages.matting.rvm.load import RobustVideoMatting

    (tmp_path / "hubconf.py").write_text(HUBCONF)
    (tmp_path / "tiny_network.py").write_text(NETWORK)
    torch.save({"gain": torch.tensor([0.125])}, tmp_path / "tiny.pth")
    options = RvmOptions(repo=str(tmp_path), weights=str(tmp_path / "tiny.pth"))
    matting = MattingSettings(options=(options,))
    model = load_model(matting, ProcessingSettings(engine="torch"), torch.device("cpu"))
    assert isinstance(model, RobustVideoMatting)
    eyes = torch.randint(0, 256, (3, 2, 3, 8, 6), dtype=torch.uint8)
    state = model.start(2, 8, 6, {})
    first = model.matte(EyeBatch(eyes, 0), state)
    second = model.matte(EyeBatch(eyes, 3), state)
    assert first.alpha[:, :, 0, 0, 0].tolist() == [[0.125] * 2, [0.25] * 2, [0.375] * 2]
    assert second.alpha[:, 1, 0, 0, 0].tolist() == [0.5, 0.625, 0.75]
    assert first.foreground is not None
    assert torch.equal(first.foreground.mul(255).round().to(torch.uint8), eyes)


def test_rvm_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    (tmp_path / "hubconf.py").write_text(HUBCONF)
    (tmp_path / "tiny_network.py").write_text(NETWORK)
    torch.save({"other": torch.zeros(3)}, tmp_path / "other.pth")
    options = RvmOptions(repo=str(tmp_path), weights=str(tmp_path / "other.pth"))
    matting = MattingSettings(options=(options,))
    with pytest.raises(MachineError, match="do not fit"):
        load_model(matting, ProcessingSettings(engine="torch"), torch.device("cpu"))
