"""Names: what is read from them, and the laws of taking tags off and putting them on."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from pipeline.contract import Layout, ProjectionName
from pipeline.vr_tags.in_names import read_tags, strip_tags, tags_for

#: Name, layout, right eye first, projection; in the styles of sites, cameras and players.
NAMES: list[tuple[str, Layout | None, bool, ProjectionName | None]] = [
    ("talk", None, False, None),
    ("talk_LR_180", "sbs", False, "equirect180"),
    ("talk_180_LR", "sbs", False, "equirect180"),
    ("Studio_Some_Title_4K_HEVC_180_180x180_3dh", "sbs", False, "equirect180"),
    ("studio-some-title-180_180x180_3dh_LR", "sbs", False, "equirect180"),
    ("Studio_Original_Title_1920p_48559_LR_180", "sbs", False, "equirect180"),
    ("Studio_Title_4000p_8K_original_48559_FISHEYE190_alpha", None, False, "fisheye190"),
    ("Studio_Title_2900p_51071_MKX200", None, False, "fisheye200"),
    ("Studio_Title_2900p_51071_MKX220_alpha", None, False, "fisheye220"),
    ("Studio_Title_VRCA220_LR", "sbs", False, "fisheye220"),
    ("Studio_Title_RF52", None, False, "fisheye190"),
    ("Studio.Title.23.09.15.180.LR.8K", "sbs", False, "equirect180"),
    ("Studio.723.Title.8K.h265.180.SBS", "sbs", False, "equirect180"),
    ("clip_LR_180_FISHEYE_F180_alpha", "sbs", False, "fisheye180"),
    ("clip_fisheye", None, False, "fisheye180"),
    ("clip FISHEYE_190 TB", "tb", False, "fisheye190"),
    ("clip_180_FISHEYE200_LR", "sbs", False, "fisheye200"),
    ("clip_F180_OU", "tb", False, "fisheye180"),
    ("Coaster 360 4K", None, False, "equirect360"),
    ("coaster_360_TB", "tb", False, "equirect360"),
    ("coaster_TB_360x180", "tb", False, "equirect360"),
    ("coaster_mono_360", "mono", False, "equirect360"),
    ("Coaster (VR360) [Over-Under]", "tb", False, "equirect360"),
    ("coaster_360_BT", "tb", True, "equirect360"),
    ("cross_eyed_RL_180", "sbs", True, "equirect180"),
    ("[180 VR] Band - Song", None, False, "equirect180"),
    ("\u3010VR180\u3011song", None, False, "equirect180"),
    ("song 180\u00b0 3D LR", "sbs", False, "equirect180"),
    ("song 180\u00d7180 Side-by-Side", "sbs", False, "equirect180"),
    ("Film.2013.3D.1080p.Half-SBS.x264", "sbs", False, None),
    ("Film.2013.3D.1080p.H-SBS.x264", "sbs", False, None),
    ("Film.2013.3D.1080p.HOU", "tb", False, None),
    ("film_OverUnder", "tb", False, None),
    ("film_3DV", "tb", False, None),
    ("film_HTB", "tb", False, None),
    ("film_2D", "mono", False, None),
    # what only looks like a tag
    ("clip_360p", None, False, None),
    ("clip_180fps", None, False, None),
    ("clip 180 fps", None, False, None),
    ("clip_1080_2180_3600", None, False, None),
    ("clip_2023-180", None, False, None),
    ("2023-180-clip", None, False, None),
    ("clip v1.180", None, False, None),
    ("10.180.3.4", None, False, None),
    ("clip 180.5", None, False, None),
    ("CLRB", None, False, None),
    ("holiday180clip", None, False, None),
    ("Alpha Centauri", None, False, None),
    ("Vrai ou faux", None, False, None),
    ("A Trip to Mono Lake", None, False, None),
    ("two people side by side", None, False, None),
    ("3D", None, False, None),
    ("L\u0301R", None, False, None),  # a letter in two characters
    ("1 TB disk", None, False, None),
    ("2_TB_backup", None, False, None),
    ("Plage_ou_ville", None, False, None),
    ("PLAGE-OU-VILLE", None, False, None),
    ("coaster_ou_v2", "tb", False, None),
    ("scene_2_TB", "tb", False, None),
    ("clip_180_TB_final", "tb", False, "equirect180"),
]


@pytest.mark.parametrize(("name", "layout", "right_first", "projection"), NAMES)
def test_names_in_use(
    name: str, layout: Layout | None, right_first: bool, projection: ProjectionName | None
) -> None:
    for stem in (name, name.upper()) if layout or projection else (name,):
        tags = read_tags(stem)
        assert (tags.layout, tags.right_first, tags.projection) == (layout, right_first, projection)
        assert tags.alpha == ("alpha" in name and projection is not None)
        assert all(word in stem for word in tags.words)
        assert bool(tags.words) == bool(layout or projection)
        assert (bool(tags.layout_word), bool(tags.projection_word)) == (
            layout is not None,
            projection is not None,
        )


@pytest.mark.parametrize(
    ("name", "layout", "projection"),
    [
        # sure: as DeoVR, HereSphere, Skybox and the sites write them
        ("talk_LR_180", False, False),
        ("talk_180", False, False),
        ("talk_360", False, False),
        ("talk-180-LR", False, False),
        ("Studio.Title.23.09.15.180.LR.8K", False, False),
        ("song 180\u00b0 3D LR", False, False),
        ("Film 3D OU", False, False),
        ("Title [180] (LR) end", False, False),
        ("[180 VR] Band - Song", False, False),
        ("talk_OU", False, False),
        ("talk_MKX200", False, False),
        ("clip 180 LR", False, False),
        # a number or two letters alone among words
        ("take_360", False, True),
        ("Scene.180", False, True),
        ("clip 180", False, True),
        ("Coaster 360 4K", False, True),
        ("180_days_later", False, True),
        ("The fisheye lens", False, True),
        ("Session BT", True, False),
        ("my_bt_speaker", True, False),
        ("My 2D film", True, False),
        ("LR trip 180", True, True),
        # a sure one of the kind is there as well
        ("take_360_LR_180", False, False),
        ("Session BT_LR_180", False, False),
    ],
)
def test_doubtful_tags(name: str, layout: bool, projection: bool) -> None:
    tags = read_tags(name)
    assert (tags.layout_doubtful, tags.projection_doubtful) == (layout, projection)


def test_tags_at_the_end_beat_the_title() -> None:
    assert read_tags("OU est LR_TB_180").layout == "tb"
    assert read_tags("talk_360_180").projection == "equirect180"
    assert read_tags("talk_LR_mono").layout == "sbs"  # it may be the sound
    assert not read_tags("talk_RL_LR").right_first
    assert read_tags("talk_RL_3dh").right_first
    assert read_tags("talk_RL_TB").right_first is False


def test_a_lens_beats_fisheye_which_beats_a_number() -> None:
    assert read_tags("talk_FISHEYE_360").projection == "fisheye180"
    assert read_tags("talk_MKX200_FISHEYE_180").projection == "fisheye180"  # both name the angle
    assert read_tags("talk_MKX200_FISHEYE").projection == "fisheye200"
    assert read_tags("talk_MKX200_FISHEYE").projection_word == "MKX200"


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("talk_LR_180_matte", "talk_matte"),
        ("talk-180-LR", "talk"),
        ("Talk (2023)_LR_180", "Talk (2023)"),
        ("Talk (180 LR) 2023", "Talk 2023"),
        ("Talk (VR180, 2023)", "Talk (2023)"),
        ("Talk (2023, VR180)", "Talk (2023)"),
        ("Title [180] (LR) end", "Title end"),
        ("[180 VR] Band - Song", "[VR] Band - Song"),
        ("\u3010VR180\u3011song", "song"),
        ("A - 180 - B", "A - B"),
        ("A(LR)B", "A_B"),
        ("A 180\u00b0_B", "A B"),
        ("A.Half-SBS.B", "A.B"),
        ("clip_LR_180_FISHEYE_F180_alpha", "clip"),
        ("Alpha Centauri_LR_180", "Alpha Centauri"),
        ("over_LR_under_talk", "talk"),  # what was apart is a tag now
        ("talk", "talk"),
        ("_talk__2_", "_talk__2_"),  # not ours to tidy
        ("LR_180", "video"),
        ("", "video"),
    ],
)
def test_what_is_left_of_a_name(name: str, left: str) -> None:
    assert strip_tags(name) == left


def test_tags_as_players_know_them() -> None:
    assert tags_for("sbs", False, "equirect180") == "_LR_180"
    assert tags_for("sbs", True, "equirect180") == "_RL_180"
    assert tags_for("tb", False, "equirect360") == "_TB_360"
    assert tags_for("sbs", False, "fisheye180") == "_LR_fisheye"
    assert tags_for("sbs", False, "fisheye190") == "_LR_fisheye190"
    assert tags_for("sbs", False, "fisheye200") == "_LR_mkx200"
    assert tags_for("sbs", False, "fisheye220") == "_LR_vrca220"
    assert tags_for("sbs", False, "flat") == "_LR"
    assert tags_for("mono", False, "flat") == ""
    assert tags_for("mono", False, "equirect360") == "_MONO_360"
    packed = tags_for("sbs", False, "fisheye180", alpha=True)
    assert packed == "_LR_180_FISHEYE_F180_alpha"
    assert tags_for("sbs", False, "fisheye190", alpha=True) == "_LR_FISHEYE190_alpha"
    with pytest.raises(ValueError, match="equirect180"):
        tags_for("sbs", False, "equirect180", alpha=True)


PIECES = [
    *("LR", "rl", "SBS", "Half", "H", "OU", "ou", "over", "Under", "Side", "by", "mono", "2D"),
    *("180", "360", "180x180", "VR180", "fisheye", "FISHEYE190", "190", "F180", "mkx200", "alpha"),
    *(
        "p",
        "fps",
        "2023",
        "5",
        "talk",
        "M\u00fcller",
        "\u52d5\u753b",
        "e\u0301",
        "\u00b0",
        "!",
        "&",
    ),
    *"_- .,()[]\u3010\u3011",
]
#: Words, half of them tags, with and without separators between them; or anything but the two
#: characters that no file name holds.
STEMS = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=10).map("".join),
    st.lists(st.sampled_from(PIECES), max_size=6).map("_".join),
    st.text(st.characters(exclude_characters="/\0"), max_size=20),
)
LAYOUTS = st.sampled_from(get_args(Layout))
PROJECTIONS = st.sampled_from(get_args(ProjectionName))


@given(STEMS)
def test_what_is_left_has_no_tags_and_stays(stem: str) -> None:
    left = strip_tags(stem)
    assert left
    assert read_tags(left).words == ()
    assert strip_tags(left) == left
    if not read_tags(stem).words:
        assert left == (stem or "video")


@given(STEMS, LAYOUTS, st.booleans(), PROJECTIONS, st.booleans())
@example("half", "sbs", False, "flat", False)
@example("2023-180", "sbs", False, "equirect180", False)
@example("alpha", "sbs", False, "fisheye180", True)
def test_tags_put_on_are_read_and_taken_off(
    base: str, layout: Layout, right_first: bool, projection: ProjectionName, alpha: bool
) -> None:
    base = strip_tags(base)
    alpha = alpha and projection.startswith("fisheye")
    named = base + tags_for(layout, right_first, projection, alpha=alpha)
    tags = read_tags(named)
    plain = (layout, projection) == ("mono", "flat")
    assert tags.layout == (None if plain else layout)
    assert tags.right_first == (right_first and layout != "mono")
    assert tags.projection == (None if projection == "flat" else projection)
    assert tags.alpha == alpha
    assume(base.rstrip(" _-.,~\u2013\u2014\u00a0\u3000") == base)  # else what hangs goes as well
    assert strip_tags(named) == base


@given(STEMS, LAYOUTS, st.booleans(), PROJECTIONS)
def test_tags_put_on_twice_are_there_once(
    stem: str, layout: Layout, right_first: bool, projection: ProjectionName
) -> None:
    tags = tags_for(layout, right_first, projection)
    once = strip_tags(stem).rstrip(" _-.,~\u2013\u2014\u00a0\u3000") + tags
    assume(once != tags)
    assert strip_tags(once) + tags == once
