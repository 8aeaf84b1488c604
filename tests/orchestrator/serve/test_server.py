"""A real server: parts of files, the token, what is never shown, and clients of every kind."""

from __future__ import annotations

import os
import random
import socket
import struct
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.out.folder import OutFolder
from orchestrator.report.report import with_outputs, write_report
from orchestrator.serve.server import PageServer
from orchestrator.serve.shown_files import NotShownError, ShownFiles
from pipeline.errors import SettingsError
from tests.orchestrator.report.test_report import done, report
from tests.orchestrator.serve.site import ANSWER_S, PAGE, TOKEN, Site, out_with, publish, served

VIDEO = random.Random(1).randbytes(5000)
KINDS = {
    "a_matte.webm": "video/webm",
    "sub/b_matte.mp4": "video/mp4",
    "c_matte.mov": "video/quicktime",
    "d_matte.mkv": "video/x-matroska",
    "e_matte.tif": "image/tiff",
    "f_matte.TIFF": "image/tiff",
    "g_matte.png": "image/png",
    "h_matte.bin": "application/octet-stream",
}
HOSTILE = "<b>two & 'שלום' #1?%2e_matte.webm"
BIG = "big_matte.webm"
SECRET = b"a secret"


@pytest.fixture
def out(tmp_path: Path) -> OutFolder:
    (tmp_path / "secret.webm").write_bytes(SECRET)
    return out_with(tmp_path / "out", dict.fromkeys((*KINDS, HOSTILE), VIDEO))


@pytest.fixture
def site(out: OutFolder) -> Iterator[Site]:
    with served(out) as site:
        yield site
    assert site.told == []


def raw(site: Site, request: bytes) -> bytes:
    """What comes for these bytes until the server closes the connection."""
    with socket.create_connection(site.server.bound, ANSWER_S) as line:
        line.sendall(request)
        return b"".join(iter(lambda: line.recv(1 << 16), b""))


def test_the_page_is_shown_as_it_is_now(site: Site, out: OutFolder) -> None:
    for path in ("/", "/report.html"):
        got = site.ask(path)
        assert (got.status, got.body) == (200, PAGE)
        assert got.headers["content-type"] == "text/html; charset=utf-8"
        assert got.headers["cache-control"] == "no-store"
    out.page.write_bytes(b"another page")
    assert site.ask("/").body == b"another page"


@pytest.mark.parametrize("name", [*KINDS, HOSTILE])
def test_an_output_comes_whole_and_as_what_it_is(site: Site, name: str) -> None:
    got = site.ask("/" + quote(name))
    assert (got.status, got.body) == (200, VIDEO)
    assert got.headers["content-type"] == KINDS.get(name, "video/webm")
    assert got.headers["content-length"] == str(len(VIDEO))
    assert got.headers["accept-ranges"] == "bytes"
    assert got.headers["x-content-type-options"] == "nosniff"


def test_outputs_that_only_the_report_names_are_shown(tmp_path: Path) -> None:
    """Such as in a copy of OUT without its `.vrmatte`."""
    out = out_with(tmp_path / "copy", {"a_matte.webm": VIDEO})
    out.journal.unlink()
    with served(out) as copy:
        assert copy.ask("/talk.mp4_matte.webm").status == 404
        (out.path / "talk.mp4_matte.webm").write_bytes(VIDEO)
        assert copy.ask("/talk.mp4_matte.webm").status == 404
        named = with_outputs(report(done()), lambda path: str(out.path / Path(path).name))
        write_report(named, out.report)
        assert copy.ask("/talk.mp4_matte.webm").body == VIDEO
        assert copy.ask("/report.json").headers["content-type"] == "application/json"
        assert copy.ask("/a_matte.webm").status == 404


def test_any_part_of_a_file_is_those_bytes(site: Site) -> None:
    size = len(VIDEO)

    @given(st.integers(0, size + 10), st.integers(0, size + 10), st.sampled_from("abc"))
    def holds(first: int, more: int, form: str) -> None:
        header, expected = {
            "a": (f"bytes={first}-{first + more}", VIDEO[first : first + more + 1]),
            "b": (f"bytes={first}-", VIDEO[first:]),
            "c": (f"bytes=-{first}", VIDEO[max(0, size - first) :] if first else b""),
        }[form]
        got = site.ask("/a_matte.webm", headers={"Range": header})
        if not expected:
            assert (got.status, got.headers["content-range"]) == (416, f"bytes */{size}")
            return
        begin = max(0, size - first) if form == "c" else first
        assert (got.status, got.body) == (206, expected)
        told = f"bytes {begin}-{begin + len(expected) - 1}/{size}"
        assert got.headers["content-range"] == told
        assert got.headers["content-length"] == str(len(expected))

    holds()


def test_a_part_is_of_the_version_that_is_known(site: Site, out: OutFolder) -> None:
    etag = site.ask("/a_matte.webm").headers["etag"]
    known = {"Range": "bytes=1-2", "If-Range": etag}
    assert site.ask("/a_matte.webm", headers=known).status == 206
    assert site.ask("/a_matte.webm", headers={"If-None-Match": etag}).status == 304
    (out.path / "a_matte.webm").write_bytes(VIDEO + b"more")
    got = site.ask("/a_matte.webm", headers=known)
    assert (got.status, got.body) == (200, VIDEO + b"more")
    assert site.ask("/a_matte.webm", headers={"If-None-Match": etag}).status == 200


def test_head_tells_the_same_without_the_bytes(site: Site) -> None:
    for path in ("/", "/a_matte.webm", "/none.webm"):
        whole, head = site.ask(path), site.ask(path, "HEAD")
        assert (head.status, head.body) == (whole.status, b"")
        del whole.headers["date"], head.headers["date"]
        assert head.headers == whole.headers


def test_a_large_file_takes_no_memory(site: Site, out: OutFolder) -> None:
    """Sparse, and longer than 32 bits can tell."""
    size = 5 << 30
    with (out.path / BIG).open("wb") as file:
        file.seek(size - 4)
        file.write(b"last")
    publish(out, BIG)
    assert site.ask(f"/{BIG}", headers={"Range": "bytes=-4"}).body == b"last"
    tracemalloc.start()
    try:
        with closing(site.connection()) as line:
            cookie = {"Cookie": f"{site.server.cookie}={TOKEN}"}
            line.request(
                "GET", f"/{BIG}", headers=cookie | {"Range": f"bytes={size - (32 << 20)}-"}
            )
            answer = line.getresponse()
            left = int(answer.headers["content-length"])
            assert left == 32 << 20
            while part := answer.read(1 << 16):
                left -= len(part)
            assert left == 0
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_a_token_lets_in_once_and_a_cookie_from_then_on(site: Site) -> None:
    for path, there in (("/", "./"), ("/sub/b_matte.mp4", "./b_matte.mp4")):
        got = site.ask(f"{path}?token={TOKEN}", known=False)
        assert (got.status, got.headers["location"]) == (303, there)
        cookie, *rest = got.headers["set-cookie"].split("; ")
        assert rest == ["Path=/", "HttpOnly", "SameSite=Strict"]
        others = f'a={{"json": "x"}}; =; {cookie}; b'
        assert site.ask(path, headers={"Cookie": others}, known=False).status == 200


@pytest.mark.parametrize(
    ("query", "cookie"),
    [
        ("", ""),
        ("?token=", ""),
        ("?token=wrong", ""),
        (f"?token={TOKEN[:-1]}", ""),
        (f"?token={TOKEN}x", ""),
        (f"?tokens={TOKEN}", ""),
        ("?token=%ff%00é", ""),
        ("?" + "&".join(["token=a"] * 1000), ""),
        ("", "wrong"),
        ("", f"{TOKEN}x"),
        ("", "\xff"),
    ],
)
def test_nobody_else_gets_anything(site: Site, query: str, cookie: str) -> None:
    for path in ("/", "/report.json", "/a_matte.webm", "/none"):
        request = f"GET {path}{query} HTTP/1.1\r\nCookie: {site.server.cookie}={cookie}\r\n\r\n"
        answer = raw(site, request.encode("latin-1"))
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 403 ")
        assert body.count(b"\n") == 1
        assert b"Set-Cookie" not in head
        assert PAGE not in answer
        assert TOKEN.encode() not in answer


def test_who_comes_by_a_link_is_let_in_by_a_renewal(site: Site) -> None:
    """A strict cookie is not sent along a link of another site, but by our own page."""
    by_link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    got = site.ask("/", headers=by_link, known=False)
    assert got.status == 403
    assert '<meta http-equiv="refresh" content="0">' in got.text
    renewed = site.ask("/", headers={"Sec-Fetch-Site": "same-origin"}, known=False)
    assert "refresh" not in renewed.text


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.webm",
        "/sub/../../secret.webm",
        "/sub/../a_matte.webm",
        "/./a_matte.webm",
        "/%2e%2e/secret.webm",
        "/%2E./secret.webm",
        "/..%2fsecret.webm",
        "/%2e%2e%2fsecret.webm",
        "/sub%2fb_matte.mp4",
        "/sub//b_matte.mp4",
        "/%252e%252e/secret.webm",
        "/..%5csecret.webm",
        "/..\\secret.webm",
        "//secret.webm",
        "/a_matte.webm/",
        "/a_matte.webm%00",
        "/a_matte.webm%00.html",
        "/a_matte.webm/../../secret.webm",
        "/%c0%ae%c0%ae/secret.webm",
        "/sub",
        "/sub/",
        "/.",
        "/..",
        "/%2f",
        "/%2fetc%2fpasswd",
        "//etc/passwd",
        "a_matte.webm",
        "*",
        "http://127.0.0.1/a_matte.webm",
        "file:///etc/passwd",
        "/.vrmatte",
        "/.vrmatte/",
        "/.vrmatte/journal.jsonl",
        "/%2evrmatte/journal.jsonl",
        "/sub/../.vrmatte/journal.jsonl",
        "/a_matte.webm;/../secret.webm",
        "/not_named.webm",
        "/" + "x" * 5000,
        "/" + "a/" * 2000,
        "/%",
        "/%zz",
    ],
)
def test_nothing_else_is_ever_shown(site: Site, out: OutFolder, path: str) -> None:
    (out.path / "not_named.webm").write_bytes(SECRET)
    request = f"GET {path} HTTP/1.1\r\nCookie: {site.server.cookie}={TOKEN}\r\n\r\n"
    answer = raw(site, request.encode("latin-1"))
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert answer.endswith(b"\r\n\r\nthere is no such file here\n")


@given(path=st.text(st.sampled_from("/.%2eEfF5c\\0sub_a?#;secretwbm\0"), max_size=40))
def test_no_spelling_leads_out(path: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp() / "spellings"
    if not folder.exists():
        out_with(folder / "out", {"a.webm": VIDEO, "sub/b.webm": VIDEO})
        (folder / "secret.webm").write_bytes(SECRET)
    files = ShownFiles(OutFolder(folder / "out"))
    try:
        shown = files.open("/" + path)
    except NotShownError:
        return
    with shown.file:
        assert shown.file.read() in (VIDEO, PAGE)


def test_links_and_what_is_no_file_are_not_followed(site: Site, out: OutFolder) -> None:
    named = ("out.webm", "state.webm", "in.webm", "folder/x.webm", "pipe.webm", "up.webm", "loop")
    publish(out, *named, ".vrmatte/journal.jsonl", "../secret.webm")
    (out.path / "out.webm").symlink_to(out.path.parent / "secret.webm")
    (out.path / "state.webm").symlink_to(out.journal)
    (out.path / "in.webm").symlink_to("a_matte.webm")
    (out.path.parent / "x.webm").write_bytes(SECRET)
    (out.path / "folder").symlink_to(out.path.parent)
    os.mkfifo(out.path / "pipe.webm")
    (out.path / "up.webm").mkdir()
    (out.path / "loop").symlink_to("loop")
    assert {name: site.ask(f"/{name}").status for name in named} == {
        **dict.fromkeys(named, 404),
        "in.webm": 200,
    }
    assert site.ask("/.vrmatte/journal.jsonl").status == 404
    out.page.unlink()
    out.page.symlink_to(out.path.parent / "secret.webm")
    assert site.ask("/").status == 404


def test_a_sibling_whose_name_begins_alike_is_not_inside(site: Site, out: OutFolder) -> None:
    beside = out.path.with_name(out.path.name + "side")
    beside.mkdir()
    (beside / "x.webm").write_bytes(SECRET)
    (out.path / "x.webm").symlink_to(beside / "x.webm")
    publish(out, "x.webm")
    assert site.ask("/x.webm").status == 404


def test_out_may_be_reached_by_a_link(tmp_path: Path, out: OutFolder) -> None:
    (tmp_path / "link").symlink_to(out.path)
    with served(OutFolder(tmp_path / "link")) as site:
        assert site.ask("/sub/b_matte.mp4").body == VIDEO


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "FOO"])
@pytest.mark.parametrize("known", [True, False])
def test_it_is_read_only(site: Site, out: OutFolder, method: str, known: bool) -> None:
    got = site.ask("/a_matte.webm", method, known=known, body=b"x" * 100_000)
    assert (got.status, got.headers["allow"]) == (405, "GET, HEAD")
    assert got.text == "only GET and HEAD are answered\n"
    assert (out.path / "a_matte.webm").read_bytes() == VIDEO


def test_a_page_that_is_to_come_says_so_and_outputs_follow(tmp_path: Path) -> None:
    out = OutFolder(tmp_path / "out")
    out.create()
    with out.locked(), served(out) as site:
        got = site.ask("/")
        assert got.status == 200
        assert "There is no page yet" in got.text
        assert '<meta http-equiv="refresh" content="5">' in got.text
        assert site.ask("/a_matte.webm").status == 404
        (out.path / "a_matte.webm").write_bytes(VIDEO)
        publish(out, "a_matte.webm")
        out.page.write_bytes(PAGE)
        assert site.ask("/").body == PAGE
        assert site.ask("/a_matte.webm").body == VIDEO


def test_who_hangs_up_is_no_error(
    site: Site, out: OutFolder, capfd: pytest.CaptureFixture[str]
) -> None:
    with (out.path / BIG).open("wb") as file:
        file.truncate(1 << 30)
    publish(out, BIG)
    cookie = f"Cookie: {site.server.cookie}={TOKEN}\r\n\r\n"
    for request in ("", "GET", f"GET /{BIG} HTTP/1.1\r\n", f"GET /{BIG} HTTP/1.1\r\n{cookie}"):
        with socket.create_connection(site.server.bound, ANSWER_S) as line:
            line.sendall(request.encode())
            if request.endswith("\r\n\r\n"):
                assert line.recv(1000)
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert site.ask("/").status == 200
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),  # TLS
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 505),
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 1000 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * 100_000 + b"\r\n\r\n", 431),
    ],
)
def test_what_is_no_request_is_refused_in_one_line(
    site: Site, request_line: bytes, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    head, _, body = raw(site, request_line).partition(b"\r\n\r\n")
    assert head.split()[1] == str(status).encode()
    assert body.count(b"\n") == 1
    assert b"<" not in body
    assert site.ask("/").status == 200
    assert capfd.readouterr() == ("", "")


def test_who_sends_no_request_gives_way_to_others(out: OutFolder) -> None:
    with served(out, most_connections=3) as site, ExitStack() as silent:
        waiting = [
            silent.enter_context(socket.create_connection(site.server.bound, ANSWER_S))
            for _ in range(10)
        ]
        assert site.ask("/").body == PAGE
        assert waiting[0].recv(1) == b""


def test_who_takes_all_the_time_is_dropped(out: OutFolder) -> None:
    with served(out, request_s=0.05) as site:
        assert raw(site, b"GET / HTTP/1.1\r\nA: ") == b""


def test_there_are_never_more_than_so_many_connections(out: OutFolder) -> None:
    """Those that are being answered stay; more are told to come again."""
    with (out.path / BIG).open("wb") as file:
        file.truncate(1 << 30)
    publish(out, BIG)
    with served(out, most_connections=2) as site, ExitStack() as busy:
        request = f"GET /{BIG} HTTP/1.1\r\nCookie: {site.server.cookie}={TOKEN}\r\n\r\n"
        for _ in range(2):
            line = busy.enter_context(socket.create_connection(site.server.bound, ANSWER_S))
            line.sendall(request.encode())
            assert line.recv(10) == b"HTTP/1.1 2"
        assert raw(site, b"").startswith(b"HTTP/1.1 503 ")


def test_a_failure_of_ours_is_told_in_one_line(
    out: OutFolder, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(self: ShownFiles, path: str) -> None:
        raise KeyError("what nobody foresaw")

    with served(out) as site:
        monkeypatch.setattr(ShownFiles, "open", fail)
        request = f"GET / HTTP/1.1\r\nCookie: {site.server.cookie}={TOKEN}\r\n\r\n"
        assert raw(site, request.encode()) == b""
    assert site.told == ["a request failed: KeyError: 'what nobody foresaw'"]
    assert capfd.readouterr() == ("", "")


def test_an_address_that_cannot_be_had_is_one_line(out: OutFolder, site: Site) -> None:
    host, port = site.server.bound
    for place, message in (
        ((host, port), f"port {port} of {host} is in use"),
        (("192.0.2.7", 0), "192.0.2.7 is not an address of this machine"),
        (("no such.host", 0), "'no such.host' is not the address of a machine"),
    ):
        with pytest.raises(SettingsError, match=message):
            PageServer(*place, ShownFiles(out), TOKEN, print)
