"""What a cluster needs that is not Ray: what nodes say of themselves, and who is left out."""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.backends.node_check import Node, Source, difference, look, this_node, versions
from orchestrator.backends.ray_session import require_answer
from pipeline.contract import MattingSettings
from pipeline.errors import MachineError, SettingsError
from pipeline.source.unchanged import fingerprint

Look = Callable[..., Node | str]


@pytest.fixture
def asked(tmp_path: Path) -> Look:
    """`look` for one source and an OUT, with whatever is changed."""
    video = tmp_path / "a.mp4"
    video.write_bytes(os.urandom(9000))
    (tmp_path / "token").touch()

    def ask(**changes: object) -> Node | str:
        source = Source(str(video), 9000, fingerprint(video, 9000))
        arguments: dict[str, object] = {
            "sources": [source],
            "out": str(tmp_path),
            "token": "token",
            "models": [MattingSettings()],
            "fetch": lambda matting: None,
        }
        return look(**(arguments | changes))  # type: ignore[arg-type]

    return ask


def test_a_node_that_sees_all_tells_what_it_has(asked: Look) -> None:
    said = asked()
    assert said == this_node()
    assert isinstance(said, Node)
    assert said.cores >= 1
    assert set(versions()) >= {"python", "vrmatte", "torch", "torchcodec"}


def test_another_folder_of_that_name_is_not_the_outs(asked: Look, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    said = asked(out=str(other))
    assert isinstance(said, str)
    assert "does not see the output folder" in said


def test_an_out_that_cannot_be_written(asked: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "orchestrator.backends.node_check.refusal", lambda out: PermissionError(13, "no way")
    )
    said = asked()
    assert isinstance(said, str)
    assert said.endswith(": no way")


def test_a_local_folder_that_this_node_has_not(asked: Look, tmp_path: Path) -> None:
    assert isinstance(asked(local_folder=str(tmp_path)), Node)
    missing = tmp_path / "nvme"
    assert asked(local_folder=str(missing)) == (
        f"it cannot write to its local folder {missing}: No such file or directory"
    )
    assert not missing.exists()


def test_a_source_of_that_name_with_other_content(asked: Look, tmp_path: Path) -> None:
    """Of the same size: the fingerprint tells."""
    (tmp_path / "a.mp4").write_bytes(os.urandom(9000))
    real = tmp_path / "b.mp4"
    real.write_bytes(os.urandom(9000))
    source = Source(str(tmp_path / "a.mp4"), 9000, fingerprint(real, 9000))
    said = asked(sources=[source])
    assert isinstance(said, str)
    assert said.endswith("a.mp4 is another file there")


def test_a_source_that_is_not_there(asked: Look, tmp_path: Path) -> None:
    said = asked(sources=[Source(str(tmp_path / "gone.mp4"), 1, "")])
    assert isinstance(said, str)
    assert "gone.mp4: No such file" in said


def test_a_model_that_cannot_be_had(asked: Look) -> None:
    def fetch(matting: MattingSettings) -> None:
        raise MachineError("no network")

    said = asked(fetch=fetch)
    assert said == "it has not the model rvm: no network"


def test_versions_that_differ_are_named() -> None:
    here = this_node()
    there = dataclasses.replace(here, versions=here.versions | {"torch": "1.0", "driver": "9"})
    assert difference(here, here) is None
    said = difference(dataclasses.replace(here, versions={"torch": "2.15", "python": "3"}), there)
    assert said is not None
    assert "torch 1.0 there, 2.15 here" in said
    assert "driver 9 there, none here" in said


BLOCKED = """
import sys
sys.modules["ray"] = None
from orchestrator.cli import main
main()
"""


def typed(
    *options: str, program: str = "from orchestrator.cli import main; main()"
) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", program, "run", *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_without_ray_one_line_says_so(tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = (str(tmp_path), "-o", str(out), "--gpus", "none", "--backend", "ray")
    status, said = typed(*options, program=BLOCKED)
    assert status == 3
    assert "needs Ray, which is not installed here" in said
    assert len(said.splitlines()) <= 2
    assert not out.exists()


def test_an_address_without_a_cluster_and_one_without_sense(tmp_path: Path) -> None:
    options = (str(tmp_path), "-o", str(tmp_path / "out"), "--address", "here:1")
    status, said = typed(*options)
    assert status == 2
    assert "--address is for --backend ray" in said
    pytest.importorskip("ray", reason="the extra cluster is not installed")
    status, said = typed(*options[:-1], "here", "--backend", "ray")
    assert (status, "is not HOST:PORT" in said) == (2, True)
    assert not (tmp_path / "out").exists()  # it was told before anything was looked at


def test_where_nobody_listens_one_line_says_so_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        with pytest.raises(MachineError, match=r"no Ray cluster answers at 127\.0\.0\.1"):
            require_answer(f"127.0.0.1:{taken.getsockname()[1]}")
    for nonsense in ("10.0.0.1", "10.0.0.1:", ":6379", "head:port", "head:99999", "head:\u00b2"):
        with pytest.raises(SettingsError, match="is not HOST:PORT"):
            require_answer(nonsense)


def test_nothing_but_a_cluster_loads_ray() -> None:
    program = (
        "import sys; import orchestrator.run.run, orchestrator.backends.cluster, workers.guest;"
        "sys.exit('ray' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
