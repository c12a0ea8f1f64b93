"""The drawings of notebook 02 show the tokens, films and numbers that they were given."""

import numpy as np
import pandas as pd
import pytest
from drawn import texts

from klm_utils.course.lessons import embedding_pictures as pictures


def colours(ax):
    return [patch.get_facecolor() for patch in ax.patches]


def narrow(n=30, width=8):
    x = np.random.default_rng(0).normal(size=(n, width)) * 0.2
    x[:, 0] += 1
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_history_and_list_have_weights_cosines_and_the_colour_of_what_came():
    ranked = [("Heat", 0.2, 1), ("Cash $$$", 0.1, 0)]
    ax = pictures.history_and_list([("Alien", 0.31), ("Evita", -0.69)], ranked, "user 7 rated")
    assert {"user 7 rated", "Alien", "+0.31", "Evita", "-0.69", "Heat", "+0.200", "Cash $$$", "cosine"} <= set(
        texts(ax)
    )
    liked, not_liked, hit, miss = colours(ax)[:4]
    assert liked == hit != not_liked == miss
    ax.figure.canvas.draw()


def boxes(ax):
    return [(p.get_x(), p.get_x() + p.get_width(), p.get_y() + p.get_height() / 2) for p in ax.patches]


def test_worth_has_a_dot_per_fold_one_list_and_a_band_for_each_row():
    films, one_list = {"e5": [0.6, 0.62], "genres": [0.57, 0.58]}, {"e5": [0.5, 0.6], "genres": [0.5, 0.5]}
    ax = pictures.worth(films, {"e5": [0.49, 0.51], "genres": [0.5, 0.52]}, one_list)
    folds, mean, common = (line.get_xdata() for line in ax.lines[:3])
    assert folds.tolist() == [0.6, 0.62] and mean[0] == pytest.approx(0.61) and common[0] == pytest.approx(0.55)
    assert boxes(ax) == [pytest.approx(box) for box in ((0.49, 0.51, 0), (0.5, 0.52, 1))]
    assert ax.get_ylim()[0] > ax.get_ylim()[1], "the first on top"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a fold", "mean", "mean, one list for all"]


def test_the_shop_has_an_interval_and_a_band_for_each_row():
    apart = pd.DataFrame({"older": [0.64], "new": [0.5]}, ["e5, zh"])
    ax = pictures.shop({"e5, zh": (0.63, 0.61, 0.65)}, {"e5, zh": [0.47, 0.5, 0.53]}, apart)
    assert ax.lines[0].get_xdata().tolist() == [0.61, 0.65] and texts(ax) == ["0.630  (older 0.640, new 0.500)"]
    assert boxes(ax) == [pytest.approx((0.47, 0.53, 0))]


def test_a_cone_points_upwards_and_opens_when_centred():
    x = narrow()
    c = x - x.mean(0)
    left, right = pictures.cone(x, c / np.linalg.norm(c, axis=1, keepdims=True), ["篮球", "茶"])
    ends = [line.get_xydata()[1] for line in left.lines]
    assert min(y for _, y in ends) > 0.5 and min(y for _, y in [line.get_xydata()[1] for line in right.lines]) < 0
    assert sorted(texts(left)) == sorted(texts(right)) == ["篮球", "茶"]
    assert float(left.get_title().split("dimensions ")[1].split("°")[0]) < 60 and "shadow" in right.get_title()


def test_two_users_have_their_first_choices_named_and_their_correlation():
    x = np.array([0.1, 0.2, 0.3])
    ax = pictures.two_users({"raw": (x, x[::-1])}, ["Anna", "Ben"], ["a", "b", "c"])[0]
    assert texts(ax) == ["c", "a"] and "correlation of these two -1.00" in ax.get_title()
    ax.figure.canvas.draw()
    assert ax.get_xlabel() == "cosine to Anna" and ax.get_ylabel() == "cosine to Ben"


def test_neighbours_stand_below_their_model_darker_where_nearer():
    ax = pictures.side_by_side("Alien", {"minilm": [("Aliens", 0.9), ("E.T.", 0.3)], "letters": [("Malice", 0.7)]})
    assert {"minilm", "letters", "Aliens", "0.90", "E.T.", "Malice"} <= set(texts(ax))
    near, far = (sum(colour[:3]) for colour in colours(ax)[:2])
    assert near < far and "Alien" in ax.get_title(loc="left")


def test_an_ellipse_has_the_axes_of_the_covariance():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(4000, 2)) * [2, 0.5] + [5, 0]
    ax, white = pictures.ellipses({"raw": points, "white": (points - points.mean(0)) / points.std(0)}, {0: "a"})
    size = sorted([ax.patches[0].get_width(), ax.patches[0].get_height()])
    assert size == pytest.approx([2, 8], rel=0.05) and ax.patches[0].get_center() == pytest.approx([5, 0], abs=0.1)
    assert white.patches[0].get_width() == pytest.approx(white.patches[0].get_height(), rel=0.05)
    assert abs(ax.patches[0].angle % 180) < 3 or abs(ax.patches[0].angle % 180) > 177, "long to the right"
    assert texts(ax) == ["a"]


def test_strips_have_medians_and_a_panel_per_way():
    near = np.array([0.97])
    raw, flat = pictures.strips(
        {"raw": {"far": np.array([0.1, 0.2, 0.9]), "near": near}, "centred": {"far": -near, "near": near}}, "cosine"
    )
    assert texts(raw) == ["0.20", "0.97"] and raw.lines[0].get_xdata().tolist() == [0.1, 0.2, 0.9]
    assert texts(flat) == ["-0.97", "0.97"] and [raw.get_title(), flat.get_title()] == ["raw", "centred"]
    assert [label.get_text() for label in raw.get_yticklabels()] == ["far", "near"]


def test_ranks_have_a_marker_per_reader_and_count_the_first_ten():
    ax = pictures.ranks({"a → b": {"minilm": 1, "letters": 300}, "c → d": {"minilm": 20, "letters": 10}}, of=1681)
    assert [list(line.get_xdata()) for line in ax.lines] == [[1, 20], [300, 10]] and ax.get_xscale() == "log"
    said = [text.get_text() for text in ax.get_legend().get_texts()]
    assert [one.split("\n")[0] for one in said] == ["minilm: 1 of 2", "letters: 1 of 2"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a → b", "c → d"] and "1,681" in ax.get_xlabel()
