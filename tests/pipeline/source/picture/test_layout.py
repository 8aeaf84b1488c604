"""How a picture is seen: who decides, what its shape says, and why."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contract import Layout, ProjectionName
from pipeline.source.picture.layout import View, find_view, is_squeezed
from pipeline.vr_tags.in_files import FoundTags

#: Name, size, layout, projection, whether the eyes are squeezed.
SEEN: list[tuple[str, tuple[int, int], Layout, ProjectionName, bool]] = [
    # nothing but the shape
    ("talk", (5760, 2880), "sbs", "equirect180", False),
    ("talk", (4096, 2046), "sbs", "equirect180", False),  # two rows short
    ("talk", (1920, 960), "mono", "flat", False),
    ("talk", (1280, 640), "mono", "flat", False),
    ("talk", (3840, 2160), "mono", "flat", False),
    ("talk", (4096, 2160), "mono", "flat", False),
    ("talk", (2880, 2880), "mono", "flat", False),
    # the layout is known
    ("talk_LR", (5760, 2880), "sbs", "equirect180", False),
    ("talk_LR", (1000, 500), "sbs", "equirect180", False),
    ("talk_LR", (8192, 4320), "sbs", "equirect180", False),  # rows beyond the squares
    ("talk_LR", (2880, 2880), "sbs", "equirect180", True),
    ("talk_LR", (7680, 1920), "sbs", "equirect360", False),
    ("talk_TB", (2880, 5760), "tb", "equirect180", False),
    ("talk_TB", (3840, 3840), "tb", "equirect360", False),
    ("talk_TB", (3840, 1920), "tb", "equirect360", True),
    ("film_HSBS", (1920, 1080), "sbs", "flat", True),
    ("film_SBS", (3840, 1080), "sbs", "flat", False),
    ("film_SBS", (3840, 1608), "sbs", "flat", True),
    ("film_OU", (1920, 1080), "tb", "flat", True),
    ("film_OU", (1920, 2160), "tb", "flat", False),
    ("talk_mono", (5760, 2880), "mono", "flat", False),
    # the projection is known
    ("talk_180", (5760, 2880), "sbs", "equirect180", False),
    ("talk_180", (1280, 640), "sbs", "equirect180", False),
    ("talk_180", (3840, 2160), "sbs", "equirect180", False),
    ("talk_180", (2880, 2880), "mono", "equirect180", False),
    ("talk_180", (2880, 5760), "tb", "equirect180", False),
    ("talk_360", (3840, 3840), "tb", "equirect360", False),
    ("talk_360", (3840, 1920), "mono", "equirect360", False),
    ("talk_360", (3840, 2160), "mono", "equirect360", False),
    ("talk_360", (7680, 1920), "sbs", "equirect360", False),
    ("talk_fisheye190", (8192, 4096), "sbs", "fisheye190", False),
    ("talk_MKX200", (8192, 4320), "sbs", "fisheye200", False),
    ("talk_VRCA220", (4096, 4096), "mono", "fisheye220", False),
    ("talk_fisheye", (2048, 4096), "tb", "fisheye180", False),
    # both are
    ("talk_LR_180", (2880, 2880), "sbs", "equirect180", True),
    ("talk_TB_180", (2880, 1440), "tb", "equirect180", False),
    ("talk_TB_180", (2880, 2880), "tb", "equirect180", True),
    ("talk_LR_360", (3840, 1920), "sbs", "equirect360", True),
    ("talk_mono_180", (5760, 2880), "mono", "equirect180", False),
    ("talk_LR_FISHEYE190", (2880, 2880), "sbs", "fisheye190", True),
]


@pytest.mark.parametrize(("stem", "size", "layout", "projection", "squeezed"), SEEN)
def test_what_is_seen(
    stem: str, size: tuple[int, int], layout: Layout, projection: ProjectionName, squeezed: bool
) -> None:
    view = find_view(stem, *size)
    assert (view.layout, view.projection, view.right_first) == (layout, projection, False)
    assert is_squeezed(view, *size) == squeezed
    half = {"sbs": "half width", "tb": "half height"}.get(layout, "half")
    assert view.projection_reason.endswith(half) == squeezed


FILM, ROUND, TALL, WHOLE = (1920, 1080), (3840, 1920), (2880, 5760), (3840, 3840)
#: Name, size, layout, projection, what the person is told to say otherwise; empty: no doubt.
DOUBTS: list[tuple[str, tuple[int, int], Layout, ProjectionName, str]] = [
    ("clip 180", FILM, "mono", "flat", "--layout sbs --projection equirect180"),
    ("clip 180", (3840, 2160), "mono", "flat", "--layout sbs --projection equirect180"),
    ("clip 180", ROUND, "sbs", "equirect180", ""),
    ("clip 180", TALL, "tb", "equirect180", "--layout mono --projection flat"),
    ("clip_180", FILM, "mono", "flat", "--layout sbs --projection equirect180"),
    ("clip_180", (3840, 2160), "sbs", "equirect180", "--layout mono --projection flat"),
    ("clip_180", ROUND, "sbs", "equirect180", ""),
    ("clip_180", (1280, 640), "sbs", "equirect180", ""),
    ("clip_LR_180", FILM, "sbs", "equirect180", ""),
    ("VR180 talk", FILM, "sbs", "equirect180", ""),
    ("take_360", FILM, "mono", "flat", "--projection equirect360"),
    ("take_360", ROUND, "mono", "equirect360", "--layout sbs --projection equirect180"),
    ("coaster_360", ROUND, "mono", "equirect360", ""),
    ("coaster_360", WHOLE, "tb", "equirect360", ""),
    ("Coaster 360 4K", (3840, 2160), "mono", "flat", "--projection equirect360"),
    ("Coaster 360 4K", WHOLE, "tb", "equirect360", "--layout mono --projection flat"),
    ("Plage_ou_ville", FILM, "mono", "flat", ""),
    ("Plage_ou_ville", ROUND, "sbs", "equirect180", ""),
    ("1 TB disk", FILM, "mono", "flat", ""),
    ("1 TB disk", WHOLE, "mono", "flat", ""),
    ("Session BT", FILM, "mono", "flat", "--layout tb"),
    ("Session BT", ROUND, "sbs", "equirect180", "--layout tb --projection equirect360"),
    ("Session BT", TALL, "tb", "equirect180", "--layout mono --projection flat"),
    ("Session_BT", WHOLE, "tb", "equirect360", ""),
    ("my_bt_speaker", FILM, "mono", "flat", "--layout tb"),
    ("film LR", (3840, 1080), "sbs", "flat", "--layout mono"),
    ("film_LR", (3840, 1080), "sbs", "flat", ""),
    ("LR trip 180", FILM, "mono", "flat", "--layout sbs --projection equirect180"),
    ("song 180\u00b0 3D LR", FILM, "sbs", "equirect180", ""),
    ("Studio_LR_Title_180", (3840, 2160), "sbs", "equirect180", ""),
    ("The fisheye lens", FILM, "mono", "flat", "--layout sbs --projection fisheye180"),
]


@pytest.mark.parametrize(("stem", "size", "layout", "projection", "otherwise"), DOUBTS)
def test_a_word_that_may_be_of_the_title_counts_where_the_shape_agrees(
    stem: str,
    size: tuple[int, int],
    layout: Layout,
    projection: ProjectionName,
    otherwise: str,
) -> None:
    view = find_view(stem, *size)
    assert (view.layout, view.projection) == (layout, projection)
    if not otherwise:
        assert view.doubt == ""
        return
    assert view.doubt.startswith("the name says '")
    assert f"taken for {layout}, {projection}; {otherwise} to say otherwise" in view.doubt
    options = otherwise.replace("--", "").split()
    asked: dict[str, Any] = dict(zip(options[::2], options[1::2], strict=True))
    said = find_view(stem, *size, **asked)
    assert said.doubt == "" or len(asked) < 2
    assert (asked.get("layout", said.layout), asked.get("projection", said.projection)) == (
        said.layout,
        said.projection,
    )


def test_what_the_file_says_beats_a_doubtful_word() -> None:
    said = FoundTags("sbs", right_first=True, projection="equirect180")
    view = find_view("take 360", 3840, 1920, container=said)
    assert (view.layout, view.right_first, view.projection) == ("sbs", True, "equirect180")
    assert "the file (3840x1920) says sbs, equirect180" in view.doubt
    assert find_view("take_mono_360", 3840, 1920, container=said).projection == "equirect360"


def test_each_is_decided_by_the_first_that_speaks() -> None:
    metadata = FoundTags("tb", right_first=True, projection="equirect360")
    size = (2880, 2880)

    def seen(stem: str, **asked: str) -> View:
        return find_view(stem, *size, container=metadata, **asked)  # type: ignore[arg-type]

    assert seen("talk") == View(
        "tb", True, "the file's metadata say so", "equirect360", "the file's metadata say so"
    )
    named = seen("talk_LR")
    assert (named.layout, named.right_first, named.layout_reason) == ("sbs", False, "name has 'LR'")
    assert named.projection == "equirect360"
    named = seen("talk_fisheye190")
    assert (named.layout, named.projection) == ("tb", "fisheye190")
    assert named.projection_reason == "name has 'fisheye190', half height"
    asked = seen("talk_LR_180", layout="mono", projection="flat")
    assert asked == View("mono", False, "as asked", "flat", "as asked")


def test_shape_is_named_as_the_reason() -> None:
    view = find_view("talk", 5760, 2880)
    assert view.layout_reason == view.projection_reason == "5760x2880 is 2:1 and wider than 1920"
    view = find_view("talk_180", 1280, 640)
    assert view.layout_reason == "1280x640 is nearest to two eyes side by side in equirect180"
    assert find_view("talk_LR", 2880, 2880).projection_reason == "each eye is 1440x2880, half width"


def test_which_eye_is_first() -> None:
    right = FoundTags("sbs", right_first=True)
    size = (5760, 2880)
    assert find_view("talk_RL", *size).right_first
    assert find_view("talk_BT", *size).right_first
    assert find_view("talk", *size, container=right).right_first
    assert find_view("talk_SBS", *size, container=right).right_first  # SBS says nothing of it
    assert not find_view("talk_LR", *size, container=right).right_first
    assert not find_view("talk_RL", *size, layout="tb").right_first  # of another layout
    assert find_view("talk_RL", *size, layout="sbs").right_first
    assert not find_view("talk_RL", *size, layout="mono").right_first


LAYOUTS = st.none() | st.sampled_from(get_args(Layout))
PROJECTIONS = st.none() | st.sampled_from(get_args(ProjectionName))


@given(
    stem=st.sampled_from(["talk", "talk_LR", "talk_360", "talk_BT_fisheye"]),
    width=st.integers(0, 20_000),
    height=st.integers(0, 20_000),
    container=st.builds(FoundTags, LAYOUTS, st.none() | st.booleans(), PROJECTIONS),
    layout=LAYOUTS,
    projection=PROJECTIONS,
)
def test_any_picture_is_seen_somehow_and_what_is_asked_is_obeyed(
    stem: str,
    width: int,
    height: int,
    container: FoundTags,
    layout: Layout | None,
    projection: ProjectionName | None,
) -> None:
    view = find_view(stem, width, height, container=container, layout=layout, projection=projection)
    assert view.layout == (layout or view.layout)
    assert view.projection == (projection or view.projection)
    assert view.layout_reason
    assert view.projection_reason
    assert "\n" not in view.layout_reason + view.projection_reason
    assert not (view.right_first and view.layout == "mono")
    # Asking for what was found changes nothing but the reason.
    again = find_view(
        stem, width, height, container=container, layout=view.layout, projection=view.projection
    )
    assert (again.layout, again.right_first, again.projection) == (
        view.layout,
        view.right_first,
        view.projection,
    )
