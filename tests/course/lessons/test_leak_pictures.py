"""The drawings of leaks show the numbers that they were given, in colours that say what they mean."""

import matplotlib.pyplot as plt
import pandas as pd
from drawn import texts
from matplotlib.colors import to_hex

from klm_utils.course.lessons import leak_pictures
from klm_utils.course.lessons.data_pictures import GREY, PALE, RED


def colours(ax):
    return [to_hex(patch.get_facecolor()).upper() for patch in ax.patches]


FOUND = pd.DataFrame(
    {"leak": [1.0, 0.61], "honest": [0.55, 0.59], "worth": [0.45, 0.02], "low": [0.4, 0.01], "high": [0.5, 0.03]},
    index=["A: an id", "B: a share"],
)


def test_each_leak_enters_at_the_features():
    ax = leak_pictures.pipeline(plt.figure().subplots())
    said = texts(ax)
    assert [t for t in said if t in ("split", "features", "model")] == ["split", "features", "model"]
    assert "C: a count over all rows" in said and not any("AUC " in t for t in said)
    box = ax.texts[said.index("features")].get_position()[0]
    arrows = [patch for patch in ax.patches if type(patch).__name__ == "FancyArrowPatch"]
    assert len(arrows) == 3 and all(abs(a._posA_posB[1][0] - box) < 0.5 for a in arrows), "all end at the features"


def test_a_dot_above_the_first_is_red():
    found = pd.DataFrame({"auc": [0.55, 0.54, 0.76], "low": [0.53, 0.52, 0.75], "high": [0.56, 0.56, 0.77]})
    ax = leak_pictures.dots(found.set_axis(["position", "later", "all"]))
    dots = [(line.get_xdata()[0], line.get_color()) for line in ax.lines if line.get_marker() == "o"]
    assert dots == [(0.55, GREY), (0.54, GREY), (0.76, RED)] and texts(ax) == ["0.550", "0.540", "0.760"]


def test_a_dumbbell_goes_from_honest_to_leak():
    ax = leak_pictures.dumbbells(FOUND, 0.79, plt.figure().subplots())
    assert list(ax.lines[0].get_xdata()) == [0.55, 1.0] and "+0.450  [+0.400, +0.500]" in texts(ax)
    assert "true probabilities 0.790" in texts(ax) and [t.get_text() for t in ax.get_yticklabels()] == list(FOUND.index)


def test_the_knob_has_a_star_for_the_reader_inside_of_the_picture():
    points = {"item_id": pd.Series({"rows": 200.0, "worth": 0.02, "low": 0.01, "high": 0.03})}
    mine = {"user_id": pd.Series({"rows": 5.0, "worth": 0.4, "low": 0.3, "high": 0.5})}
    ax = leak_pictures.knob(
        points, pd.DataFrame({0: {2: 0.39, 200: 0.03}, 1: {2: 0.38, 200: 0.02}}), mine, ax=plt.figure().subplots()
    )
    stars = [c for c in ax.collections if hasattr(c, "get_sizes") and c.get_sizes().tolist() == [180]]
    assert [s.get_offsets().tolist() for s in stars] == [[[5.0, 0.4]]] and ax.get_ylim()[1] > 0.4
    assert ax.get_xscale() == "log" and "item_id" in texts(ax)
    assert [line.get_ydata().tolist() for line in ax.lines[:2]] == [[0.39, 0.03], [0.38, 0.02]]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["random groups of rows, 2 draws", "yours: user_id"]


def test_an_alarm_that_rings_is_red():
    heard = {"alone_heard": [True], "moved_heard": [False], "truth_heard": [True]}
    ax = leak_pictures.alarm_grid(pd.DataFrame({"alone": [1.0], "moved": [0.0], "truth": [0.2]} | heard, index=["A"]))
    assert colours(ax) == [RED, PALE, RED]
    assert {"1.000\nfound", "0.000\nnothing", "+0.200\nfound", "A"} <= set(texts(ax))
