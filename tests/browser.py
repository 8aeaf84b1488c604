"""A chromium without a window, driven by the DevTools protocol over a pair of pipes.

https://chromedevtools.github.io/devtools-protocol/: JSON messages, each ended by a zero byte.
"""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import pytest

ROOT = Path(__file__).resolve().parents[1]

#: For one answer, in seconds: chromium's first page takes some on a busy machine.
ANSWER_S = 60.0

_OPTIONS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox",  # containers have no user namespaces; the pages are our own
    "--no-first-run",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-extensions",
    "--mute-audio",
    "--hide-scrollbars",
    "--autoplay-policy=no-user-gesture-required",
)


def find_chromium() -> str | None:
    """The path of one that runs, or None; nothing is fetched."""
    found = subprocess.run(
        [str(ROOT / "deploy/chromium.sh"), "--found"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or None


def required_chromium() -> str:
    """The path of one that runs; where there is none the test is skipped, or fails if asked to."""
    if (chromium := find_chromium()) is not None:
        return chromium
    if os.environ.get("VRMATTE_REQUIRE_CHROMIUM"):
        pytest.fail("there is no chromium here, and VRMATTE_REQUIRE_CHROMIUM is set")
    pytest.skip("THE PAGE WAS NOT LOOKED AT: no chromium here; deploy/chromium.sh fetches one")


class Browser:
    """One window. Leaves no process and no file outside of `profile`."""

    def __init__(self, chromium: str, profile: Path) -> None:
        theirs_in, self._write = os.pipe()
        self._read, theirs_out = os.pipe()
        # Chromium reads commands at descriptor 3 and answers at 4.
        shell = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "bash", chromium, *_OPTIONS, f"--user-data-dir={profile}"],
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(profile), "TZ": "UTC"},
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._held = b""
        self._last_id = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._write)
        os.close(self._read)

    def call(self, method: str, **params: Any) -> Any:
        """The protocol's answer; AssertionError where it is an error."""
        self._last_id += 1
        message = {"id": self._last_id, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            said = self._next_message()
            if said.get("id") == self._last_id:
                assert "error" not in said, said
                return said["result"]
            self.events.append(said)

    def size(self, width: int, height: int = 900, *, dark: bool = False) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, page: Path | str) -> None:
        """Load a page, by its path or address, to its end."""
        self.events.clear()
        self.call("Page.navigate", url=page if isinstance(page, str) else page.as_uri())
        deadline = time.monotonic() + ANSWER_S
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            assert time.monotonic() < deadline
            self.events.append(self._next_message())

    def value(self, script: str) -> Any:
        """Of a script's last expression; of what it comes to, where that is a promise."""
        said = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in said, said["exceptionDetails"]
        return said["result"].get("value")

    def wait_for(self, condition: str, seconds: float = 20.0) -> None:
        """Until a script's expression is true in the page."""
        wait = f"""new Promise(done => {{
            const begun = Date.now();
            const look = () => {{
                const found = Boolean({condition});
                found || Date.now() - begun > 500 ? done(found) : setTimeout(look, 20);
            }};
            look();
        }})"""
        deadline = time.monotonic() + seconds
        while True:
            with suppress(AssertionError):  # the page is just being replaced
                if self.value(wait):
                    return
            assert time.monotonic() < deadline, condition

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Of what is painted when the page has had two more turns."""
        turn = "requestAnimationFrame"
        self.value(f"new Promise(done => {turn}(() => {turn}(() => setTimeout(done, 100))))")
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _next_message(self) -> dict[str, Any]:
        deadline = time.monotonic() + ANSWER_S
        while b"\0" not in self._held:
            left = deadline - time.monotonic()
            assert left > 0, "chromium does not answer"
            ready, _, _ = select.select([self._read], [], [], left)
            if ready:
                part = os.read(self._read, 1 << 20)
                assert part, f"chromium has ended: {self._process.poll()}"
                self._held += part
        line, _, self._held = self._held.partition(b"\0")
        said: dict[str, Any] = json.loads(line)
        return said
