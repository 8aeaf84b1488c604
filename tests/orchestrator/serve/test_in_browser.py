"""The server with a real browser: cookies along links, and moments of a video."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from rich.console import Console

from orchestrator.out.folder import OutFolder
from orchestrator.report.again import write_again
from tests.browser import Browser, required_chromium
from tests.clips import X264, ClipSpec
from tests.orchestrator.serve.site import TOKEN, Site, served
from tests.shared_runs import UndisturbedRun

pytestmark = [pytest.mark.slow]

CLIP = ClipSpec("talk_LR_180.mp4", X264, num_frames=60, eye=(64, 64))
SETTINGS = {"matting": {"model": "chroma"}, "workers": {"gpus": "none"}}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(required_chromium(), tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture(scope="module")
def site(
    browser: Browser, undisturbed_run: UndisturbedRun, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """OUT of a run, with a page without pictures; after the browser, which holds connections."""
    out = OutFolder(tmp_path_factory.mktemp("served") / "out")
    shutil.copytree(undisturbed_run([CLIP], SETTINGS).out, out.path)
    write_again(out.path, Console(quiet=True), Console(quiet=True), pictures=False)
    with served(out) as site:
        yield site


def test_a_link_of_another_site_leads_to_the_page(browser: Browser, site: Site) -> None:
    """Such as one in a mail that is read in the browser."""
    browser.call("Network.clearBrowserCookies")
    address = f"http://127.0.0.1:{site.server.server_port}/"
    browser.open(f"data:text/html,<a href='{address}?token={TOKEN}'>the page</a>")
    browser.value("document.querySelector('a').click()")
    browser.wait_for("document.querySelector('h1')")
    assert browser.value("location.href") == address
    assert browser.value("document.cookie") == ""


def test_a_video_is_played_from_any_moment(browser: Browser, site: Site) -> None:
    browser.open(f"http://127.0.0.1:{site.server.server_port}/?token={TOKEN}")
    browser.wait_for("document.querySelector('video')")
    moment = browser.value(
        """new Promise((done) => {
            const video = document.querySelector("video");
            video.addEventListener("seeked", () => done(video.currentTime));
            video.addEventListener("loadedmetadata", () => { video.currentTime = 1.5; });
            video.load();
        })"""
    )
    assert moment == 1.5
