"""The page: what it says, in what order, and that whatever it says stays text."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, get_args
from urllib.parse import unquote
from xml.etree.ElementTree import Element

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from tinyhtml5.parser import HTMLParser

import orchestrator.report.writer
from orchestrator.exit_status import STOPPED
from orchestrator.fleet.jobs import VideoJob
from orchestrator.fleet.journal_entries import Entry, SegmentCommitted
from orchestrator.report.cards import address, cards
from orchestrator.report.charts import area_path, busy_shares, load_charts
from orchestrator.report.keeper import (
    LATEST_EVERY_S,
    Gallery,
    keep,
    send_state,
    sent_states,
    write_page,
)
from orchestrator.report.needs import FLAGS
from orchestrator.report.newest import NewestSegment, NewestSegments
from orchestrator.report.page import Album, render
from orchestrator.report.rebuild import read_report
from orchestrator.report.report import Report, VideoReport, write_report
from orchestrator.report.schema import report_schema, text
from orchestrator.report.state import PageState, all_ended
from orchestrator.report.stills.draw import EDGE_SIDE, edge_crop, left_eye
from orchestrator.report.stills.reuse import Kept, kept_pictures
from orchestrator.report.stills.stills import MOST_MOMENTS, Pictures, draw_request, moments
from orchestrator.report.writer import PageWriter
from orchestrator.watch.device_load import DeviceLoad
from orchestrator.words import precise
from pipeline.contract import SegmentResult, StoredView, VideoInfo, VideoSettings
from pipeline.deliverables.formats import FORMATS
from pipeline.errors import ErrorRecord
from pipeline.judge.doubt import Doubt
from pipeline.judge.findings import FlagKind
from pipeline.text import printable
from tests.orchestrator.pages import (
    HOSTILE,
    album,
    every_kind,
    flag,
    load,
    pictures,
    report,
    unfinished,
    video,
)
from tests.orchestrator.snapshots import snapshot, video_info

ROOT = Path(__file__).resolve().parents[3]
XHTML = "{http://www.w3.org/1999/xhtml}"


def ended(*videos: VideoReport, ending: Any = "in order") -> PageState:
    made = report(*videos)
    return PageState(made, made.run.ended_at, ending, all_ended(made))


def parsed(page: str) -> Element:
    """The document; there must be no error in it."""
    parser = HTMLParser()
    document: Element = parser.parse(page)
    assert parser.errors == []
    return document


def elements(document: Element) -> Iterator[tuple[str, Element]]:
    for element in document.iter():
        if isinstance(element.tag, str):
            yield element.tag.rpartition("}")[2], element


STATES = {
    "in work": every_kind(),
    "killed": replace(every_kind(), ending="without a word"),
    "done": replace(every_kind(), ending="in order"),
    "nothing": ended(),
    "one": ended(video(0, "talk.mp4")),
}


@pytest.mark.parametrize("name", STATES)
def test_the_page_is_valid_and_whoever_cannot_see_is_told_all(name: str) -> None:
    state = STATES[name]
    document = parsed(render(state, album(state)))
    found = list(elements(document))
    ids = [element.get("id") for _, element in found if element.get("id")]
    assert len(ids) == len(set(ids))
    labelled = [e for tag, parent in found if tag == "label" for e in parent.iter()]
    for tag, element in found:
        if tag == "img":
            assert element.get("alt")
        if tag in ("video", "progress") or element.get("role") == "img":
            assert element.get("aria-label")
        if tag == "input":
            assert element in labelled or element.get("aria-label")
        for reference in (element.get("aria-labelledby") or "").split():
            assert reference in ids
        if (target := element.get("href", "")).startswith("#"):
            assert target[1:] in ids
    levels = [int(tag[1]) for tag, _ in found if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


@pytest.mark.parametrize("name", STATES)
def test_everything_is_in_the_page_or_beside_it(name: str) -> None:
    state = STATES[name]
    page = render(state, album(state))
    for _, element in elements(parsed(page)):
        for attribute in ("src", "href", "poster", "srcset", "action", "data"):
            where = element.get(attribute, "data:")
            assert where.startswith(("data:", "./", "#")) or where == "report.json", where
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def structure(page: str) -> list[tuple[str, list[str]]]:
    return [(tag, sorted(element.attrib)) for tag, element in elements(parsed(page))]


def with_text(said: str) -> PageState:
    """A run in which everything that comes from elsewhere is `said`."""
    error = ErrorRecord("decode", said, said)
    failed = replace(unfinished(1, said, 5), result="failed", error=error)
    done = replace(video(0, said), notes=(said,), decoders=(f"CPU: {said}",))
    state = ended(done, failed)
    run = replace(state.report.run, inputs=(said,), version=said)
    return replace(state, report=replace(state.report, run=run))


PLAIN = structure(render(with_text("x"), Album({})))


@settings(max_examples=40)
@given(st.one_of(st.sampled_from(HOSTILE), st.text(min_size=1, max_size=60)))
def test_text_stays_text(said: str) -> None:
    page = render(with_text(said), Album({}))
    assert structure(page) == PLAIN
    heads = ["".join(e.itertext()) for tag, e in elements(parsed(page)) if tag == "h3"]
    assert [head.split() for head in heads] == [printable(said).split()] * 2
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", page)


@given(st.text(min_size=1, max_size=30).filter(lambda name: name not in (".", "..")))
def test_links_lead_to_files_beside_the_page(name: str) -> None:
    name = name.replace("/", "_").replace("\0", "_")
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return
    found = address(f"/out/sub/{name}", "/out")
    assert found is not None
    assert re.fullmatch(r"\./[A-Za-z0-9/._~%-]*", found)
    assert unquote(found, errors="surrogateescape") == f"./sub/{name}"


def test_nothing_outside_of_the_folder_is_linked() -> None:
    assert address("/elsewhere/a.webm", "/out") is None
    assert address("/outside/a.webm", "/out") is None


def test_what_deserves_a_look_comes_first_and_says_why() -> None:
    state = every_kind()
    made = cards(state)
    assert [card.name for card in made[:2]] == [printable(HOSTILE[0]), "bad.mp4"]
    assert made[2].name == "sky.mp4"
    assert made[2].reasons == (f"doubtful: {printable(HOSTILE[0])}",)
    assert made[3].name == "dance_LR_180.mp4"
    assert "the matte's area jumps (9 places)" in made[3].reasons
    assert made[4].reasons == ("3 frames could not be decoded",)
    assert [card.name for card in made[5:]] == [
        printable(HOSTILE[2]),  # in work
        "talk_LR_180.mp4",
        "earlier.mp4",
        "concert.mp4",  # waits
    ]
    assert all(not card.reasons for card in made[5:])


def test_a_doubtful_video_is_not_called_done() -> None:
    doubt = Doubt("nothing_found", "no person was found in 20 of 20 frames", "try depth")
    useless = replace(video(0, "a.mp4"), result="doubtful", doubts=(doubt,))
    page = render(ended(useless), Album({}))
    assert "<h1>The video needs you</h1>" in page
    assert "Doubtful: no person was found in 20 of 20 frames" in page
    assert "try depth" in page
    page = render(ended(useless, video(1, "b.mp4"), video(2, "c.mp4")), Album({}))
    assert "<h1>2 look good, 1 needs you</h1>" in page
    assert "Nothing was found that deserves a look" not in page


def test_every_flag_has_its_time_and_leads_there() -> None:
    flags = (flag("empty", 45, 74), flag("eyes_disagree", 1830, 1831, 1))
    late = video(0, "a.mp4", flags=flags)
    assert late.facts is not None
    late = replace(late, frames=2370, facts=replace(late.facts, first_frame=30))
    page = render(ended(late), Album({}))
    found = {
        e.get("href"): "".join(e.itertext()).strip()
        for _, e in elements(parsed(page))
        if e.get("data-seek")
    }
    where = "./sub%20folder/0%23%3F%25%20%C3%A9_matte.webm"
    assert found == {f"{where}#t=0.5": "0:00.50 to 0:01.50", f"{where}#t=60.0": "1:00.00"}
    words = " ".join("".join(parsed(page).itertext()).split())
    assert "the eyes disagree 1:00.00 right eye" in words


def test_every_kind_of_flag_has_words() -> None:
    assert set(FLAGS) == set(get_args(FlagKind))


@given(
    st.integers(1, 5000),
    st.integers(0, 100),
    st.lists(st.tuples(st.sampled_from(list(FLAGS)), st.integers(0, 5200), st.integers(0, 90))),
)
def test_frames_that_are_shown_are_frames_of_the_output(
    frames: int, begin: int, found: list[tuple[Any, int, int]]
) -> None:
    flags = tuple(flag(kind, first, first + more) for kind, first, more in found)
    made = video(0, "a", flags=flags)
    assert made.facts is not None
    made = replace(made, frames=frames, facts=replace(made.facts, first_frame=begin))
    shown = [moment.frame for moment in moments(made)]
    assert shown == sorted(set(shown))
    assert 1 <= len(shown) <= MOST_MOMENTS
    assert all(0 <= frame < frames for frame in shown)
    if flags:  # every kind that there is room for
        kinds = {moment.why for moment in moments(made)}
        assert kinds <= {flag.kind for flag in flags}


def test_flags_of_all_kinds_are_shown_before_two_of_one() -> None:
    flags = (*(flag("jump", n, n + 1) for n in (10, 20, 30, 40)), flag("flicker", 500, 510))
    assert {moment.why for moment in moments(video(0, "a", flags=flags))} == {"jump", "flicker"}


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0:00.00"), (59.999, "0:59.99"), (3723.5, "1:02:03.50")]
)
def test_times_tell_frames_apart(seconds: float, said: str) -> None:
    assert precise(seconds) == said


def test_charts_tell_of_each_gpu_and_of_the_cpu() -> None:
    charts = load_charts(load())
    assert [chart.title for chart in charts] == [
        "GPU 0: NVIDIA L4",
        "GPU 1: NVIDIA L4",
        "CPU cores of the run",
    ]
    assert [line.name for line in charts[0].lines] == ["GPU", "decoder", "encoder", "GPU memory"]
    assert len({line.dash for line in charts[0].lines}) == 4
    assert "encoder 10% on average, 10% at the most" in charts[0].words
    assert load_charts(load()[:1]) == ()
    silent = tuple(
        replace(p, devices=tuple(replace(d, gpu=None) for d in p.devices)) for p in load()
    )
    assert [chart.title for chart in load_charts(silent)] == ["CPU cores of the run"]


def test_a_gpu_of_a_node_that_joined_late_and_went_has_its_chart_for_that_time() -> None:
    late = DeviceLoad(9, 0, "H200", busy=0.5, node="pod-b")
    points = tuple(
        replace(p, devices=(*p.devices, *([late] if 20 <= p.seconds <= 40 else []))) for p in load()
    )
    assert points[-1].seconds > 40
    chart = load_charts(points)[2]
    assert chart.title == "GPU 0 on pod-b: H200"
    assert [line.words for line in chart.lines] == ["GPU 50% on average, 50% at the most"]


def test_shares_are_of_the_time_in_which_a_video_was_made() -> None:
    points = [replace(p, cpu=float(20 <= p.seconds <= 40)) for p in load()]
    assert dict(busy_shares(points, 20, 40))["CPU"] == 1
    assert dict(busy_shares(points, 100, 140))["CPU"] == 0
    assert busy_shares(points, 1000, 1001) == ()


def test_an_area_that_is_not_known_leaves_a_gap() -> None:
    assert area_path((None, None)) == ""
    assert area_path((0.1, 0.1, None, 0.2)).count("Z") == 2


def test_a_page_that_is_being_made_renews_itself_and_one_that_is_done_does_not() -> None:
    going, done = (render(STATES[name], Album({})) for name in ("in work", "done"))
    assert re.search(r'<noscript><meta http-equiv="refresh" content="\d+"></noscript>', going)
    assert 'data-refresh="0"' not in going
    assert 'http-equiv="refresh"' not in done
    assert 'data-refresh="0"' in done
    killed = render(STATES["killed"], Album({}))
    assert 'data-refresh="0"' in killed
    assert "ended without a word" in killed


def test_what_is_not_shown_is_said() -> None:
    going = render(STATES["in work"], Album({}, awaited=2, left_out=7))
    assert "Pictures of 2 videos are being made" in going
    assert "for 7 videos there was no room" in going
    page = render(ended(video(0, "a")), Album({}, not_made=1))
    assert "Pictures of 1 video were not made" in page
    assert 'data-refresh="0"' in page


# -- who keeps it --------------------------------------------------------------------------


def line(*states: PageState, cut: int = 0) -> io.BytesIO:
    """What is sent of `states`, less its last `cut` bytes."""
    sent = io.BytesIO()
    for state in states:
        send_state(sent, state, {})
    return io.BytesIO(sent.getvalue()[: len(sent.getvalue()) - cut])


@given(st.integers(0, 300))
def test_a_line_that_is_cut_off_gives_whole_states_only(cut: int) -> None:
    states = (ended(video(0, "a")), ended(video(1, "b")))
    got = [state for state, _ in sent_states(line(*states, cut=cut))]
    assert got == list(states[: len(got)])
    assert len(got) == (2 if cut == 0 else 1)


def kept(*states: PageState, cut: int = 0) -> list[str]:
    written: list[str] = []
    keep(line(*states, cut=cut), lambda page, _: written.append(page), Gallery())
    return written


def test_a_run_that_is_killed_leaves_a_page_that_says_so() -> None:
    *_, last = kept(every_kind(), every_kind(), cut=5)
    assert "ended without a word" in last
    assert "being made" not in last
    assert 'data-refresh="0"' in last
    assert kept() == []


def test_the_last_page_waits_for_the_pictures_of_the_last_video() -> None:
    state = replace(STATES["one"], report=replace(STATES["one"].report, exit_status=0))
    id = state.report.videos[0].id
    drawn: list[str] = []
    written: list[str] = []
    is_written = threading.Event()

    def write(page: str, lasting: bool) -> None:
        assert lasting
        written.append(page)
        is_written.set()

    def draw(video: VideoReport, info: VideoInfo) -> tuple[Pictures, ...]:
        assert is_written.wait(30)
        drawn.append(video.id)
        return tuple(pictures(moment.frame) for moment in moments(video))

    gallery = Gallery(draw)
    gallery.album(ended(), {id: video_info(Path(__file__))})
    keep(line(state), write, gallery)
    first, last = written
    assert drawn == [id]
    assert "data:image/webp" not in first
    # True also if nothing comes after it.
    assert "pictures of 1 video were still being made: reload it in a minute" in first
    assert 'data-refresh="10" data-for="90"' in first
    assert last.count("<img") == 9
    assert "being made" not in last
    assert 'data-refresh="0"' in last


def test_whoever_stops_a_run_is_told_that_its_last_pictures_do_not_come() -> None:
    state = replace(STATES["one"], report=replace(STATES["one"].report, exit_status=STOPPED))
    is_written = threading.Event()

    def draw(video: VideoReport, info: VideoInfo) -> tuple[Pictures, ...]:
        assert is_written.wait(30)
        return ()

    gallery = Gallery(draw)
    gallery.album(ended(), {state.report.videos[0].id: video_info(Path(__file__))})
    written: list[str] = []
    keep(line(state), lambda page, _: written.append(page), gallery)
    is_written.set()
    [only] = written
    assert "Pictures of 1 video were not made when the run ended" in only


def test_pictures_that_cannot_be_made_cost_nothing_else_and_are_not_tried_again() -> None:
    tried: list[str] = []

    def draw(video: VideoReport, info: VideoInfo) -> tuple[Pictures, ...]:
        tried.append(video.id)
        if video.id == state.report.videos[0].id:
            raise OSError("no")
        return tuple(pictures(moment.frame) for moment in moments(video))

    state = ended(video(0, "a"), video(1, "b"))
    infos = {video.id: video_info(Path(__file__)) for video in state.report.videos}
    gallery = Gallery(draw)
    while gallery.album(state, infos).awaited:
        gallery.wait(10)
    assert tried == [video.id for video in state.report.videos]
    assert list(gallery.album(state, infos).pictures) == tried[1:]


def test_a_page_has_room_for_so_many_pictures_of_those_that_deserve_a_look_most() -> None:
    def draw(video: VideoReport, info: VideoInfo) -> tuple[Pictures, ...]:
        return tuple(pictures(moment.frame) for moment in moments(video))

    state = ended(video(0, "a"), video(1, "b"), video(2, "c", flags=(flag("empty", 1, 5),)))
    infos = {video.id: video_info(Path(__file__)) for video in state.report.videos}
    gallery = Gallery(draw, room_bytes=2 * pictures(3).num_bytes)
    while (got := gallery.album(state, infos)).awaited:
        gallery.wait(10)
    assert list(got.pictures) == [state.report.videos[n].id for n in (2, 0)]
    assert got.left_out == 1


def test_a_video_in_work_has_a_thumbnail_of_its_newest_segment_now_and_then() -> None:
    made = (unfinished(0, "a", 5), unfinished(1, "b", 5))
    moment, drawn = [0.0], list[tuple[str, int]]()

    def draw(video: VideoReport, newest: NewestSegment) -> tuple[Pictures, ...]:
        drawn.append((video.name, newest.number))
        return (replace(pictures(0), thumb="AAAA"),)

    def album(*numbers: int) -> Album:
        """After what was begun has come to its end."""
        newest = {
            each.id: NewestSegment(number, "/x.webm", "webm")
            for each, number in zip(made, numbers, strict=True)
        }
        state = replace(ended(*made), ending=None, newest=newest)
        gallery.album(state, {})
        gallery.wait(10)
        return gallery.album(state, {})

    gallery = Gallery(draw_latest=draw, clock=lambda: moment[0])
    album(0, 0)
    assert drawn == [("a", 0)]
    album(1, 0)
    assert drawn == [("a", 0)], "it is too early"
    for turn in (1, 2, 3):
        moment[0] = turn * LATEST_EVERY_S
        got = album(1, 0)
    assert drawn == [("a", 0), ("b", 0), ("a", 1)], "the oldest first, and none twice"
    page = render(replace(ended(*made), ending=None), got)
    assert page.count('src="data:image/webp;base64,AAAA"') == 2


def test_the_newest_segment_is_that_of_the_film_that_is_shown() -> None:
    settings = VideoSettings(deliverables=("matte", "webm"))
    info = video_info(Path(__file__))
    job = VideoJob("v", "a.mp4", info, settings, ("o", "o"), ((0, 9), (9, 18)), "i", "/out/w")
    entries: list[Entry] = []
    newest = NewestSegments(entries)
    assert newest.of([job]) == {}
    for number in (0, 1):
        result = SegmentResult((f"/out/w/m{number}.mp4", f"/out/w/{number}.webm"), 9)
        print_of = settings.fingerprint()
        entries.append(SegmentCommitted(job.id, print_of, number, 0, 9, result, (1, 1)))
    assert newest.of([job]) == {job.id: NewestSegment(1, "/out/w/1.webm", "webm")}
    other = replace(job, settings=replace(settings, max_frames=3))
    assert newest.of([other]) == {}, "made under other settings"


def test_the_edge_that_is_shown_is_where_most_pixels_are_half_transparent() -> None:
    eye = np.zeros((1000, 1300, 4), np.uint8)
    assert edge_crop(eye) is None
    eye[..., 0] = np.arange(1300) % 251
    eye[100:110, 200:230, 3] = 128
    eye[700:760, 860:950, 3] = 128
    crop = edge_crop(eye)
    assert crop is not None
    assert crop.shape == (EDGE_SIDE, EDGE_SIDE, 4)
    assert (crop[..., 3] == 128).sum() == 60 * 90
    assert np.array_equal(np.diff(crop[0, :, 0].astype(int)) % 251, np.ones(EDGE_SIDE - 1))


@pytest.mark.parametrize(("layout", "swapped"), [("sbs", False), ("tb", True), ("mono", False)])
def test_a_thumbnail_is_of_the_left_eye(layout: str, swapped: bool) -> None:
    pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    shown = {"sbs": pixels[:, :3], "tb": pixels[2:], "mono": pixels}[layout]
    assert np.array_equal(left_eye(pixels, layout, swapped), shown)


@pytest.mark.parametrize(
    ("good", "need", "unfinished_ones", "said"),
    [
        (1, 0, 0, "The video looks good"),
        (2, 0, 0, "Both videos look good"),
        (1200, 0, 0, "All 1,200 videos look good"),
        (3, 1, 0, "3 look good, 1 needs you"),
        (1, 2, 1, "1 looks good, 2 need you, 1 is not finished"),
        (0, 5, 0, "All 5 videos need you"),
    ],
)
def test_the_headline_tells_the_truth(
    good: int, need: int, unfinished_ones: int, said: str
) -> None:
    made = [video(0, "a")] * good + [unfinished(0, "c", 5)] * unfinished_ones
    state = ended(*made, *[video(0, "b", flags=(flag("empty", 1, 5),))] * need)
    assert f"<h1>{said}</h1>" in render(state, Album({}))


def test_each_thing_that_asks_for_a_person_counts_once() -> None:
    error = ErrorRecord("input", "no video", "skip it")
    doubt = Doubt("sky", "sky", "try rvm")
    flags = (flag("empty", 1, 5), flag("jump", 9, 10))
    state = ended(
        video(0, "good"),
        replace(video(1, "doubtful", flags=flags), result="doubtful", doubts=(doubt,)),
        replace(unfinished(2, "failed", 5), result="failed", error=error),
        VideoReport("aside", "/in/aside", "set aside", error=error),
        replace(video(4, "lacking"), left_out=("alphapack",)),
        video(5, "flagged", flags=flags),
    )
    page = render(state, album(state))
    assert "<h1>1 looks good, 5 need you</h1>" in page
    assert "alphapack cannot be made of it" in page


def test_thumbnails_come_before_the_cards_and_the_load_last_and_closed() -> None:
    found = list(elements(parsed(render(STATES["done"], album(STATES["done"])))))
    places = [
        tag if tag == "article" else element.get("class") or element.get("id")
        for tag, element in found
    ]
    assert places.index("thumbs") < places.index("article") < places.index("load")
    load_part = next(element for _, element in found if element.get("id") == "load")
    assert load_part.get("open") is None
    assert {"article", "thumbs"}.isdisjoint(places[places.index("load") :])


def test_a_card_says_for_whom_its_files_are_and_how_they_were_made() -> None:
    made = replace(video(0, "a.mp4"), differs={"matting.model": "depth"}, segment_starts=(0, 600))
    state = ended(made)
    changed = {"matting.model": "rvm", "encoding.quality": "best", "workers.cpu_workers": "2"}
    run = replace(state.report.run, command="vrmatte run 'a b' -o out", changed=changed)
    page = render(replace(state, report=replace(state.report, run=run)), Album({}))
    words = " ".join("".join(parsed(page).itertext()).split())
    assert re.search(r"0_green\.mp4, [\d.]+ MB for players that key out a colour", words)
    assert "encoding.quality: best matting.model: depth All other settings" in words
    assert "workers.cpu_workers" not in words
    assert "vrmatte run 'a b' -o out" in words
    assert 'class="tick" d="M150.0 84V100"' in page


def test_hevc_with_alpha_stands_before_what_other_browsers_play() -> None:
    made = video(0, "a.mp4")
    layered = replace(made.outputs[0], deliverable="hevc-alpha", path="/out/a_hevc.mp4")
    page = render(ended(replace(made, outputs=(*made.outputs, layered))), Album({}))
    found = [e for tag, e in elements(parsed(page)) if tag == "source"]
    assert [element.get("type") for element in found] == [
        'video/quicktime; codecs="hvc1"',
        "video/webm",
    ]
    assert found[0].get("src") == "./a_hevc.mp4"


def test_every_format_says_for_whom_it_is() -> None:
    assert all(row.for_whom.startswith("for ") for row in FORMATS.built_in.values())


def test_a_source_that_is_resampled_is_not_laid_beside_its_output() -> None:
    state, info = ended(video(0, "a")), video_info(Path(__file__))
    plain = draw_request(state.report.videos[0], info, 9)
    stored = StoredView(1072, 1504, "tb", False, 2, mesh_sha256="00")
    other = draw_request(state.report.videos[0], replace(info, stored=stored), 9)
    assert plain is not None
    assert other is not None
    assert (plain.source, other.source) == (info.path, "")


def test_pictures_of_an_earlier_page_are_taken_from_it_as_long_as_they_are_of_the_same(
    tmp_path: Path,
) -> None:
    def never(video: VideoReport, info: VideoInfo) -> tuple[Pictures, ...]:
        drawn.append(video.id)
        return ()

    drawn: list[str] = []
    page = tmp_path / "report.html"
    old = ended(video(0, HOSTILE[0]), video(1, "b", flags=(flag("empty", 1, 5),)))
    page.write_text(render(old, album(old)))
    gallery = Gallery(never, kept=kept_pictures(page))
    infos = {video.id: video_info(Path(__file__)) for video in old.report.videos}
    assert gallery.album(old, infos) == album(old)

    flags = (flag("empty", 1, 5), flag("jump", 50, 51))
    new = ended(video(0, HOSTILE[0]), video(1, "b", flags=flags))
    gallery = Gallery(never, kept=kept_pictures(page))
    while (got := gallery.album(new, infos)).awaited:
        gallery.wait(10)
    assert list(got.pictures) == [new.report.videos[0].id]
    assert drawn == [new.report.videos[1].id]
    assert kept_pictures(tmp_path / "none") == Kept()


def test_a_video_that_is_not_finished_keeps_its_thumbnail(tmp_path: Path) -> None:
    page, made = tmp_path / "report.html", unfinished(0, "a", 5)
    page.write_text(render(ended(made), Album({}, latest={made.id: "AAAA"})))
    gallery = Gallery(kept=kept_pictures(page))
    assert gallery.album(ended(replace(made, frames_done=6)), {}).latest == {made.id: "AAAA"}
    done = Gallery(kept=kept_pictures(page)).album(ended(video(0, "a")), {})
    assert done.latest == {}


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    for lasting in (False, True):
        write_page(path, f"page {lasting}", lasting)
        assert path.read_text() == f"page {lasting}"
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_page(tmp_path / "taken", "page", False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "taken"]


def test_a_keeper_that_hears_nothing_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pipe is full, and it never reads: the run goes on, and comes to its end."""

    def deaf(path: Path, messages: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(["sleep", "600"], stdin=subprocess.PIPE)

    monkeypatch.setattr(orchestrator.report.writer, "_keeper", deaf)
    monkeypatch.setattr(orchestrator.report.writer, "FIRST_S", 0.01)
    monkeypatch.setattr(orchestrator.report.writer, "STOP_WAIT_S", 0.3)
    state = ended(*(video(number, "a" * 200) for number in range(200)))
    assert len(pickle.dumps(state)) > 1 << 16
    writer = PageWriter(tmp_path / "report.html", lambda snapshot: state, {})
    with writer:
        for turn in range(1000):
            writer.update(snapshot(turn, ()))
        assert not writer.write_last(state, 0.3)
    assert list(tmp_path.iterdir()) == []


def test_whoever_does_not_wait_for_the_last_pictures_stops_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Drawing(subprocess.Popen[bytes]):
        """It takes what is written, and is interrupted when it is waited for."""

        interrupted = False

        def wait(self, timeout: float | None = None) -> int:
            if self.interrupted:
                return super().wait(timeout)
            self.interrupted = True
            raise KeyboardInterrupt

    keeper = Drawing(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    monkeypatch.setattr(orchestrator.report.writer, "_keeper", lambda path, messages: keeper)
    page = tmp_path / "report.html"
    page.write_text("without the last pictures")
    with PageWriter(page, lambda snapshot: STATES["one"], {}) as writer:
        assert writer.write_last(STATES["one"])
    assert keeper.poll() is not None


def test_a_keeper_that_dies_is_replaced_and_the_log_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keepers: list[subprocess.Popen[bytes]] = []

    def dying(path: Path, messages: IO[bytes]) -> subprocess.Popen[bytes]:
        command = ["sh", "-c", "echo the last words >&2; exit 3"]
        keepers.append(subprocess.Popen(command, stdin=subprocess.PIPE, stderr=messages))
        keepers[-1].wait()
        return keepers[-1]

    monkeypatch.setattr(orchestrator.report.writer, "_keeper", dying)
    with capture_logs() as logs:
        writer = PageWriter(tmp_path / "report.html", lambda snapshot: STATES["one"], {})
        with writer:
            assert not writer.write_last(STATES["one"])
            assert not writer.write_last(STATES["one"])
    assert len(keepers) == 2
    why = "the process that writes the page failed (exit status 3): the last words"
    assert why in [log.get("why") for log in logs]


def test_the_page_is_in_what_is_installed(tmp_path: Path) -> None:
    """Every file of our packages is in the wheel."""
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, tmp_path / name)
    for name in ("pipeline", "workers", "orchestrator"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    build = "import setuptools.build_meta as b; b.build_wheel('dist')"
    (tmp_path / "dist").mkdir()
    command = [sys.executable, "-W", "ignore", "-c", build]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    [wheel] = (tmp_path / "dist").iterdir()
    installed = set(zipfile.ZipFile(wheel).namelist())
    ours = {
        str(path.relative_to(ROOT))
        for name in ("pipeline", "workers", "orchestrator")
        for path in (ROOT / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert ours - installed == set()
    assert "orchestrator/report/templates/page.html" in ours


# -- report.json ---------------------------------------------------------------------------


def test_the_schema_in_the_documents_is_that_of_the_report() -> None:
    told = (ROOT / "docs/report.schema.json").read_text()
    assert told == text(), "python -m orchestrator.report.schema > docs/report.schema.json"


def test_a_report_keeps_to_its_schema_and_is_read_back_as_it_was(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    made: Report = every_kind(str(out)).report
    write_report(made, out / "report.json")
    said = json.loads((out / "report.json").read_text())
    jsonschema.validate(said, report_schema(), cls=jsonschema.Draft202012Validator)
    assert read_report(out / "report.json") == made
    paths = [Path(output["path"]) for video in said["videos"] for output in video["outputs"]]
    assert paths
    assert not any(path.is_absolute() for path in paths)
    moved = out.rename(tmp_path / "moved")
    assert read_report(moved / "report.json") == every_kind(str(moved)).report


def test_every_field_of_the_report_is_in_the_documents() -> None:
    told = (ROOT / "docs/report.md").read_text()
    schema = report_schema()
    for part in (schema, *schema["$defs"].values()):
        for name in part["properties"]:
            assert f"`{name}`" in told, name
