"""The page of a real run, and one with videos in every state, in a real browser."""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import orchestrator.report.page
from orchestrator.fleet.journal_entries import RunEnded, VideoDone
from orchestrator.out.folder import OutFolder
from orchestrator.out.journal import read_entries
from orchestrator.report.again import write_again
from orchestrator.report.page import Album, render
from orchestrator.report.rebuild import found_in
from orchestrator.report.report import Report
from orchestrator.report.stills.stills import draw, draw_request
from orchestrator.watch.device_load_file import LoadFile
from tests.browser import Browser, required_chromium
from tests.clips import X264, ClipSpec, read_number
from tests.orchestrator.pages import HOSTILE, album, every_kind, load
from tests.orchestrator.report.test_page import parsed
from tests.runs import HereRun, environment, left_behind

pytestmark = [pytest.mark.slow]

GetClip = Callable[[ClipSpec], Path]

FRAMES = 30
CLIP = ClipSpec("clip.mp4", X264, num_frames=FRAMES)
NAMES = ("one_LR_180.mp4", "<b>two & 'שלום' #1?_LR_180.mp4")
SETTINGS: dict[str, dict[str, object]] = {
    "matting": {"model": "chroma"},
    "output": {"formats": ["webm"]},
    "streaming": {"segment_frames": 15, "lanes": 2},
    "workers": {"gpus": "none"},
}


@pytest.fixture(scope="module")
def out(clip: GetClip, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OUT of a run that came to its end."""
    base = tmp_path_factory.mktemp("report")
    (base / "in").mkdir()
    for name in NAMES:
        shutil.copy2(clip(CLIP), base / "in" / name)
    run = HereRun(base / "in", base / "out", SETTINGS, threads=True, page=True)
    assert run.run() == 0, run.said.getvalue()
    return base / "out"


def shown_pictures(page: str) -> dict[str, list[Image.Image]]:
    """Pictures by their alternative text without the time: in the order of the page."""
    found: dict[str, list[Image.Image]] = {}
    for element in parsed(page).iter():
        if str(element.tag).endswith("}img"):
            data = element.get("src", "").partition("base64,")[2]
            picture = Image.open(io.BytesIO(base64.b64decode(data)))
            what = element.get("alt", "").rpartition(" at ")[0]
            found.setdefault(what, []).append(picture)
    return found


def numbers(picture: Image.Image, width: int) -> list[int]:
    """The number painted into each eye, over green where it is transparent."""
    whole = Image.new("RGBA", picture.size, (0, 177, 64, 255))
    whole.alpha_composite(picture.convert("RGBA"))
    pixels = np.asarray(whole.convert("RGB"))
    return [read_number(pixels[:, eye : eye + width]) for eye in (0, width)]


def test_the_pictures_are_of_the_frames_that_they_are_said_to_be_of(out: Path) -> None:
    page = (out / "report.html").read_text()
    found = shown_pictures(page)
    thumbs = found.pop("")  # "A frame of NAME"
    assert [max(thumb.size) for thumb in thumbs] == [CLIP.eye[0]] * len(NAMES)
    assert len(found) == 3 * len(NAMES)
    for name in NAMES:
        frames = [int(share * (FRAMES - 1)) for share in (0.1, 0.5, 0.9)]
        for what in ("Source", "Result"):
            shown = [numbers(picture, CLIP.eye[0]) for picture in found[f"{what} of {name}"]]
            assert shown == [[frame] * 2 for frame in frames], what
        for matte, result in zip(
            found[f"Matte of {name}"], found[f"Result of {name}"], strict=True
        ):
            alpha = np.asarray(matte.convert("L")).astype(int)
            assert abs(alpha - np.asarray(result.getchannel("A"))).mean() < 4
            assert alpha[-1, -1] < 5  # the screen
            assert alpha.max() > 250


def test_what_cannot_be_drawn_is_left_out_and_holds_nobody_up(out: Path, tmp_path: Path) -> None:
    found = found_in(OutFolder(out), datetime.now().astimezone())
    video = found.state.report.videos[0]
    request = draw_request(video, found.infos[video.id], 60)
    assert request is not None
    gone = replace(request, source=str(tmp_path / "gone.mp4"), frames=(3,))
    [drawn] = draw(gone, 60)
    assert (drawn.frame, drawn.source) == (3, "")
    assert numbers(Image.open(io.BytesIO(base64.b64decode(drawn.result))), 192) == [3, 3]
    noise = tmp_path / "noise.webm"
    noise.write_bytes(os.urandom(10_000))
    assert draw(replace(gone, output=str(noise)), 60) == ()
    playlist = tmp_path / "list.m3u8"
    playlist.write_text(f"#EXTM3U\n#EXTINF:1,\n{video.outputs[0].path}\n")
    assert draw(replace(gone, output=str(playlist)), 60) == ()
    assert draw(request, 0.0) == ()


def test_nothing_but_the_page_the_report_and_the_outputs_is_in_the_folder(out: Path) -> None:
    found = {path.name for path in out.iterdir()}
    of_tests = {"live.html", "done.html"}
    assert found - of_tests - {path.name for path in out.glob("*.webm")} == {
        ".vrmatte",
        "report.html",
        "report.json",
    }


def test_the_page_is_written_anew_also_of_a_run_that_was_killed(out: Path, tmp_path: Path) -> None:
    """Its journal ends before the second video was done."""
    said = Console(file=io.StringIO(), width=200)
    before = shown_pictures((out / "report.html").read_text())
    (out / "report.html").unlink()
    write_again(out, said, said)
    assert shown_pictures((out / "report.html").read_text()).keys() == before.keys()
    whole: Report = found_in(OutFolder(out), datetime.now().astimezone()).state.report
    assert [video.result for video in whole.videos] == ["done", "done"]

    journal = out / ".vrmatte/journal.jsonl"
    kept = journal.read_bytes()
    entries = read_entries(journal)
    lines = kept.splitlines(keepends=True)
    assert isinstance(entries[-1], RunEnded)
    last = max(n for n, entry in enumerate(entries) if isinstance(entry, VideoDone))
    try:
        journal.write_bytes(b"".join(lines[:last]))
        LoadFile(out).update(load(), datetime.now().astimezone())
        state = found_in(OutFolder(out), datetime.now().astimezone()).state
    finally:
        journal.write_bytes(kept)
    assert state.ending == "without a word"
    assert state.report.load == load()
    by_name = {video.name: video for video in state.report.videos}
    assert sorted(video.result for video in by_name.values()) == ["done", "not finished"]
    assert sum(video.frames_done for video in by_name.values()) == 2 * FRAMES
    for video in whole.videos:
        again = by_name[video.name]
        assert (again.facts, again.flags, again.area) == (video.facts, video.flags, video.area)
        assert again.stages == video.stages
        assert video.stages is not None
        first, *_, planes, encode = video.stages
        assert (first, planes, encode) == ("decode", "planes", "encode")
        assert all(0 < share <= 1 for share in video.stages.values())
    assert "ended without a word" in render(state, album(state))


KILLED = """
import os, signal, sys
from pathlib import Path

import orchestrator.report.writer as writer
from tests.orchestrator.pages import every_kind
from tests.orchestrator.snapshots import snapshot

writer.FIRST_S = 0.01
page = Path(sys.argv[1])
with writer.PageWriter(page, lambda snapshot: every_kind(), {}) as it:
    it.update(snapshot(0, ()))
    while not page.exists():
        os.sched_yield()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_run_that_is_killed_leaves_a_page_that_says_so_and_no_process(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(page)],
        cwd=Path(__file__).resolve().parents[3],
        env=environment(tmp_path),
        check=False,
        timeout=60,
    )
    assert killed.returncode == -signal.SIGKILL
    assert left_behind(tmp_path) == []
    assert "ended without a word" in page.read_text()
    assert list(tmp_path.iterdir()) == [page]


# -- in a browser ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(required_chromium(), tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture(scope="module")
def pages(out: Path) -> dict[str, Path]:
    """By name; all of them lie beside the outputs, as they do in OUT."""
    state = every_kind(str(out))
    made = {"real": out / "report.html", "live": out / "live.html", "done": out / "done.html"}
    made["live"].write_text(render(state, album(state)))
    made["done"].write_text(render(replace(state, ending="in order"), album(state)))
    return made


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1400])
def test_nothing_is_wider_than_the_window(
    browser: Browser, pages: dict[str, Path], width: int, dark: bool
) -> None:
    browser.size(width, dark=dark)
    for name, page in pages.items():
        browser.open(page)
        assert browser.value("innerWidth") == width
        browser.value("document.querySelectorAll('details').forEach(part => part.open = true)")
        assert browser.value("document.documentElement.scrollWidth") <= width, name
        outside = """[...document.querySelectorAll('body *')].filter(part => {
            const box = part.getBoundingClientRect();
            return box.width > 0 && !part.classList.contains('skip')
                && !part.closest('svg') && (box.right > innerWidth + 0.5 || box.left < -0.5);
        }).map(part => part.tagName + '.' + part.className)"""
        assert browser.value(outside) == [], name
        if shots := os.environ.get("VRMATTE_SCREENSHOTS"):
            shade = "dark" if dark else "light"
            browser.screenshot(Path(shots, f"{name}-{width}-{shade}.png"), whole=True)


def test_every_text_is_dark_or_light_enough(browser: Browser, pages: dict[str, Path]) -> None:
    """WCAG 2: 4.5 to 1 at the least."""
    script = """(() => {
        const rgba = (text) => text.match(/[\\d.]+/g).map(Number);
        const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
            .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
            .reduce((sum, v, place) => sum + v * [0.2126, 0.7152, 0.0722][place], 0);
        const ground = (part) => {
            for (let at = part; at; at = at.parentElement) {
                const colour = rgba(getComputedStyle(at).backgroundColor);
                if (colour.length === 3 || colour[3] === 1) return colour;
            }
        };
        const weak = [];
        for (const part of document.querySelectorAll('body *')) {
            const own = [...part.childNodes].some(n => n.nodeType === 3 && n.data.trim());
            if (!own || part.closest('script, style, [hidden], video')) continue;
            const pair = [light(rgba(getComputedStyle(part).color)), light(ground(part))];
            const [low, high] = pair.sort((a, b) => a - b);
            if ((high + 0.05) / (low + 0.05) < 4.5) weak.push(part.tagName + '.' + part.className);
        }
        return weak;
    })()"""
    for dark in (False, True):
        browser.size(1400, dark=dark)
        browser.open(pages["live"])
        assert browser.value(script) == [], "dark" if dark else "light"


def refusals(browser: Browser) -> list[str]:
    """What the page's policy refused, and errors of its script; missing films are none."""
    logged = [e["params"]["entry"] for e in browser.events if e.get("method") == "Log.entryAdded"]
    thrown = [e for e in browser.events if e.get("method") == "Runtime.exceptionThrown"]
    return [entry["text"] for entry in logged if entry["source"] != "network"] + [*map(str, thrown)]


def test_names_are_shown_as_they_are_and_run_nothing(
    browser: Browser, pages: dict[str, Path]
) -> None:
    for name in ("real", "live"):
        browser.open(pages[name])
        assert not browser.value("document.title").startswith("taken")
        refused = refusals(browser)
        assert refused == []
    heads = browser.value("[...document.querySelectorAll('h3')].map(head => head.textContent)")
    assert set(HOSTILE) <= set(heads)


def first_video(browser: Browser) -> str:
    return "document.querySelector('article video')"


def test_a_result_plays_in_its_place_over_any_colour(
    browser: Browser, pages: dict[str, Path], tmp_path: Path
) -> None:
    browser.size(1400)
    browser.open(pages["real"])
    browser.value("""(() => {
        document.querySelector('details.player').open = true;
        document.getElementById('eyes-both').click();
        const colour = document.getElementById('colour');
        colour.value = '#7b2d8e';
        colour.dispatchEvent(new Event('input'));
        scrollTo(0, 0);
    })()""")
    video = first_video(browser)
    browser.value(f"{video}.scrollIntoView(); {video}.loop = false; {video}.play()")
    browser.wait_for(f"{video}.ended")
    assert browser.value(f"[{video}.videoWidth, {video}.videoHeight]") == [384, 96]
    assert abs(browser.value(f"{video}.duration") - FRAMES / 30) < 0.05
    # The colour shows through where the screen was, and the marks stand before it.
    browser.value(f"{video}.removeAttribute('controls'); {video}.scrollIntoView()")
    box = browser.value(f"(r => [r.x, r.y, r.width, r.height])({video}.getBoundingClientRect())")
    browser.screenshot(tmp_path / "shot.png")
    with Image.open(tmp_path / "shot.png") as shot:
        x, y, width, height = box
        part = shot.convert("RGB").crop((round(x), round(y), round(x + width), round(y + height)))
    part = part.resize((384, 96), Image.Resampling.BOX)
    colour = np.asarray(part)[90, 380].astype(int)
    assert np.abs(colour - (0x7B, 0x2D, 0x8E)).max() <= 3
    assert numbers(part, CLIP.eye[0]) == [FRAMES - 1] * 2


def test_a_picture_shows_one_eye_or_both_and_is_wiped_by_the_keyboard(
    browser: Browser, pages: dict[str, Path], tmp_path: Path
) -> None:
    browser.size(1400)
    browser.open(pages["real"])
    shape = """(box => box.width / box.height)(
        document.querySelector('.picture.result img').getBoundingClientRect())"""
    for eye, ratio in (("left", 2), ("both", 4), ("right", 2)):
        browser.value(f"document.getElementById('eyes-{eye}').click()")
        assert abs(browser.value(shape) - ratio) < 0.05
    assert seen_eyes(browser, tmp_path) == [False, True]
    browser.value("document.getElementById('eyes-left').click()")
    assert seen_eyes(browser, tmp_path) == [True, False]

    browser.value("document.querySelector('input.wipe').focus()")
    for _ in range(3):
        for kind in ("keyDown", "keyUp"):
            browser.call(
                "Input.dispatchKeyEvent", type=kind, key="ArrowRight", windowsVirtualKeyCode=39
            )
    cut = "getComputedStyle(document.querySelector('.picture.result')).clipPath"
    assert browser.value(cut).endswith(" 23%)")
    browser.value("document.getElementById('view-three').click()")
    assert browser.value(cut) == "none"


def seen_eyes(browser: Browser, folder: Path) -> list[bool]:
    """Whether the first result shows the red bar of the left eye, and the blue one of the right."""
    result = "document.querySelector('.picture.result img')"
    browser.value(f"{result}.scrollIntoView()")
    box = browser.value(f"(r => [r.x, r.y, r.right, r.bottom])({result}.getBoundingClientRect())")
    browser.screenshot(folder / "eye.png")
    with Image.open(folder / "eye.png") as shot:
        pixels = np.asarray(shot.convert("RGB").crop(tuple(map(round, box)))).astype(int)
    half = pixels[:, pixels.shape[1] // 2 :]  # the source covers the rest
    red, _, blue = (half[..., part] for part in range(3))
    return [bool((red - blue > 100).any()), bool((blue - red > 100).any())]


def test_a_file_of_ones_own_lies_behind_the_results_and_stays_here(
    browser: Browser, pages: dict[str, Path], tmp_path: Path
) -> None:
    Image.new("RGB", (64, 64), (10, 120, 200)).save(tmp_path / "sea.png")
    browser.size(1400)
    browser.open(pages["real"])
    browser.events.clear()
    own = browser.call(
        "Runtime.evaluate", expression="document.getElementById('own')", returnByValue=False
    )["result"]["objectId"]
    browser.call("DOM.setFileInputFiles", files=[str(tmp_path / "sea.png")], objectId=own)
    behind = "getComputedStyle(document.querySelector('.picture.result img')).backgroundImage"
    browser.wait_for(f"{behind}.startsWith('url(\"blob:')")
    assert browser.value("document.getElementById('behind-own').checked")
    film = next(pages["real"].parent.glob("*.webm"))
    browser.value("document.querySelector('details.player').open = true")
    browser.call("DOM.setFileInputFiles", files=[str(film)], objectId=own)
    browser.wait_for("document.querySelector('.ground > video.own')?.videoWidth === 384")
    assert refusals(browser) == []
    browser.value("document.getElementById('behind-white').click()")
    assert browser.value("document.querySelectorAll('video.own').length") == 0


def test_a_browser_that_sees_no_alpha_in_hevc_takes_the_webm(
    browser: Browser, pages: dict[str, Path]
) -> None:
    """A file of HEVC stands first, for Apple's; no other browser may take it."""
    page = pages["real"].with_name("two.html")
    text = pages["real"].read_text()
    own = re.compile(r'(<source src=")([^"]*)(" type=")video/webm">')
    apple = r'\1./gone_hevc.mp4\3video/quicktime; codecs=&quot;hvc1&quot;">\g<0>'
    page.write_text(own.sub(apple, text))
    browser.open(page)
    browser.value(f"{first_video(browser)}.load(), {first_video(browser)}.preload = 'auto'")
    browser.wait_for(f"{first_video(browser)}.currentSrc.endsWith('.webm')")
    page.unlink()


def test_an_override_is_copied_as_it_stands(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["done"])
    browser.value("""(() => {
        window.copied = [];
        document.execCommand = () => copied.push(String(getSelection())) > 0;
        Object.defineProperty(navigator, 'clipboard', {value: undefined});
        document.querySelector('button[data-copy]').click();
    })()""")
    browser.wait_for("copied.length === 1")
    shown = browser.value("document.querySelector('.copied pre').textContent")
    assert browser.value("copied[0]").strip() == shown.strip()
    assert shown.startswith("overrides:\n- match: ")
    browser.wait_for("document.getElementById('said').textContent === 'Copied'")


def test_a_click_on_a_time_goes_there_and_without_script_the_link_does(
    browser: Browser, pages: dict[str, Path]
) -> None:
    browser.open(pages["real"])
    video = first_video(browser)
    link = "document.querySelector('a[data-seek]:not([data-seek=\"0\"])')"
    seconds = browser.value(f"Number({link}.dataset.seek)")
    assert seconds > 0
    browser.value(f"{link}.click()")
    browser.wait_for(f"Math.abs({video}.currentTime - {seconds}) < 0.02 && !{video}.seeking")
    assert browser.value("location.href") == pages["real"].as_uri()
    assert re.fullmatch(r"\./.*\.webm#t=[\d.]+", browser.value(f"{link}.getAttribute('href')"))


def test_without_script_all_is_there_to_read(browser: Browser, pages: dict[str, Path]) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(pages["done"])
        tree = browser.call("Accessibility.getFullAXTree")["nodes"]
        words = [node["name"]["value"] for node in tree if "name" in node]
        for told in ("dance_LR_180.mp4", "checkerboard", "the eyes disagree", "0:20.00 to 0:22.70"):
            assert told in words
        assert "any colour" not in words  # what would do nothing is not offered
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


def test_a_page_that_is_being_made_renews_itself_and_keeps_what_was_chosen(
    browser: Browser, pages: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orchestrator.report.page, "REFRESH_S", 0.2)
    state = replace(every_kind(), now=datetime.now().astimezone())
    page = pages["live"].with_name("going.html")
    page.write_text(render(state, album(state)))
    browser.open(page)
    # Between two pages there is none of its parts.
    part = "document.getElementById('behind-black')"
    browser.wait_for(f"{part} && ({part}.click(), {part}.checked)")
    state = replace(state, report=replace(state.report, videos=state.report.videos[:1]))
    page.with_suffix(".new").write_text(render(replace(state, ending="in order"), album(state)))
    page.with_suffix(".new").replace(page)
    browser.wait_for("document.querySelector('h1').textContent.startsWith('The video looks good')")
    # So does one that was written last while pictures were to come, until they have come.
    awaits = replace(state, ending="in order", now=datetime.now().astimezone())
    page.with_suffix(".new").write_text(render(awaits, Album({}, awaited=1)))
    page.with_suffix(".new").replace(page)
    browser.open(page)
    page.with_suffix(".new").write_text(render(awaits, album(awaits)))
    page.with_suffix(".new").replace(page)
    browser.wait_for("document.querySelectorAll('img').length > 0")
    browser.wait_for(f"{part} && {part}.checked")
    page.unlink()
