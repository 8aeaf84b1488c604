"""`vrmatte report OUT --serve`: addresses, the page that is written first, and the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

import orchestrator.serve.addresses
from orchestrator.cli import main
from orchestrator.serve.addresses import page_addresses, parse_address
from orchestrator.serve.server import PageServer
from pipeline.errors import SettingsError
from tests.orchestrator.finished_out import finished_out
from tests.runs import environment


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("0.0.0.0:8080", ("0.0.0.0", 8080)),
        (":8081", ("127.0.0.1", 8081)),
        ("[::1]:8080", ("::1", 8080)),
        ("[::]:0", ("::", 0)),
        ("localhost:65535", ("localhost", 65535)),
    ],
)
def test_an_address_is_read(text: str, place: tuple[str, int]) -> None:
    assert parse_address(text) == place


@pytest.mark.parametrize(
    "text", ["", "8080", "::1:8080", "localhost", "a:b", ":65536", ":-1", "[x]:1", "http://a:1"]
)
def test_what_is_no_address_is_one_line(text: str) -> None:
    with pytest.raises(SettingsError) as error:
        parse_address(text)
    assert error.value.message == f"--serve: {text!r} is no ADDRESS:PORT"
    assert "0.0.0.0:8080" in error.value.advice


def test_a_pod_names_the_address_of_its_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orchestrator.serve.addresses, "_own_address", lambda: "10.0.0.7")
    pod = {"RUNPOD_POD_ID": "abc123xyz"}
    proxy = ("through RunPod", "https://abc123xyz-8080.proxy.runpod.net/?token=T")
    here = ("on this machine", "http://127.0.0.1:8080/?token=T")
    near = ("in its network", "http://10.0.0.7:8080/?token=T")
    assert page_addresses(("0.0.0.0", 8080), "T", pod) == [proxy, here, near]
    assert page_addresses(("::", 8080), "T", {}) == [here, near]
    assert page_addresses(("127.0.0.1", 9), "T", pod) == [("", "http://127.0.0.1:9/?token=T")]
    assert page_addresses(("::1", 9), "T", {}) == [("", "http://[::1]:9/?token=T")]


def typed(monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, str, str]:
    """Exit status and what was printed, of a server that is ended as soon as it serves."""

    def ended(server: PageServer, poll_interval: float = 0.5) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(PageServer, "serve_forever", ended)
    result = CliRunner().invoke(main, ["report", *words], prog_name="vrmatte")
    return result.exit_code, result.stdout, result.stderr


def test_a_missing_page_is_written_first_and_one_that_is_there_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = finished_out(tmp_path / "out", 1)
    words = (str(out.path), "--serve", ":0", "--no-pictures")
    status, answer, _ = typed(monkeypatch, *words)
    assert status == 0
    written, page = answer.splitlines()
    assert written == f"report: {out.page}"
    assert page.startswith("page: http://127.0.0.1:")
    assert "talk00.mp4" in out.page.read_text()
    out.page.write_text("as it was")
    status, again, _ = typed(monkeypatch, *words)
    assert (status, out.page.read_text()) == (0, "as it was")
    assert len(again.splitlines()) == 1
    assert again.split("token=")[1] != answer.split("token=")[1]
    assert len(again.split("token=")[1].strip()) >= 40


def test_a_run_that_goes_on_writes_its_page_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = finished_out(tmp_path / "out", 1)
    with out.locked():
        status, answer, _ = typed(monkeypatch, str(out.path), "--serve", ":0")
    assert (status, len(answer.splitlines()), out.page.exists()) == (0, 1, False)


@pytest.mark.parametrize("with_page", [False, True])
def test_a_folder_without_a_run_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_page: bool
) -> None:
    if with_page:
        (tmp_path / "report.html").write_text("somebody else's")
    status, answer, error = typed(monkeypatch, str(tmp_path), "--serve", ":0")
    assert (status, answer) == (2, "")
    assert error.startswith(f"error: no run was started in {tmp_path}\n")
    assert len(error.splitlines()) == 2


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_ended_and_that_is_no_failure(
    tmp_path: Path, number: signal.Signals
) -> None:
    out = finished_out(tmp_path / "out", 1)
    command = (sys.executable, "-m", "orchestrator.cli", "report", str(out.path))
    with subprocess.Popen(
        [*command, "--no-pictures", "--serve", ":0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(tmp_path),
    ) as server:
        assert server.stdout is not None
        assert server.stderr is not None
        server.stdout.readline()
        address = urlsplit(server.stdout.readline().split()[1])
        line = HTTPConnection(address.hostname or "", address.port, timeout=30)
        line.request("GET", f"/?{address.query}")
        answer = line.getresponse()
        answer.read()
        cookie = answer.headers["Set-Cookie"].split(";")[0]
        line.request("GET", "/", headers={"Cookie": cookie})
        assert b"talk00.mp4" in line.getresponse().read()
        line.close()
        os.kill(server.pid, number)
        assert server.wait(30) == 0
        assert len(server.stderr.read().splitlines()) == 1
