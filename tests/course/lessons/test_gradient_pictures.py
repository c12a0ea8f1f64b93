"""The drawings of notebook 04 show the numbers that they were given, inside of their axes."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from klm_utils.course.lessons import gradient_pictures as pictures
from klm_utils.plots import COLOURS

BLUE, ORANGE = COLOURS[:2]


def texts(ax, colour=None):
    return [text.get_text() for text in ax.texts if colour in (None, text.get_color()) and text.get_text()]


def inside(ax):
    """Every text lies within the limits of the axes."""
    (left, right), (low, high) = ax.get_xlim(), sorted(ax.get_ylim())
    return all(left <= x <= right and low <= y <= high for x, y in (text.get_position() for text in ax.texts))


def test_the_graph_has_a_value_and_a_gradient_in_each_box():
    ax = pictures.graph({"film": 0.1, "age": 0.25}, [0, 2], 1)  # z = .5, p = .622, loss .474, p - y = -.378
    values, slopes = texts(ax, BLUE), texts(ax, ORANGE)
    assert values == ["0.1", "0", "0", "0.25", "2", "0.5", "0.5", "0.622", "0.474", "1", "blue: value"]
    assert slopes == ["−0.0378", "−0.378", "−0.0944", "−0.378", "−0.378", "−1.61", "1", "orange: gradient"]
    assert inside(ax) and len(ax.patches) == 3 * 2 + 4 + 2 * 2 + 3, "boxes and arrows"


def test_the_graph_of_somebody_who_did_not_buy_forward_only():
    ax = pictures.graph({"film": 1.0}, [0], 0, backward=False)
    assert texts(ax, ORANGE) == [] and "0.693" in texts(ax, BLUE)
    assert "0.5" in texts(pictures.graph({"film": 1.0}, [0], 0), ORANGE), "p - y = +.5"


def test_the_tangents_touch_the_curves_with_the_slopes_that_are_written():
    left, right = pictures.slope_at(1.0, 0.0)
    p = 1 / (1 + np.exp(-1.0))
    assert f"p = {p:.2f}, slope {p * (1 - p):.2f}" in texts(left) and f"loss 1.31, slope {p:+.2f}" in texts(right)
    for ax, slope in ((left, p * (1 - p)), (right, p)):
        tangent = next(line for line in ax.lines if line.get_color() == ORANGE)
        (x0, x1), (y0, y1) = tangent.get_data()
        assert (y1 - y0) / (x1 - x0) == pytest.approx(slope)
        dot = next(line for line in ax.lines if line.get_marker() == "o")
        assert dot.get_ydata()[0] == pytest.approx((y0 + y1) / 2), "the tangent goes through the point"


def test_a_line_of_errors_for_each_precision():
    errors = pd.DataFrame({"float32": [1e-2, 1e-3], "float64": [0.0, 1e-9]}, index=[1e-6, 1e-3])
    ax = pictures.step_sizes(errors)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["float32", "float64"]
    assert ax.lines[1].get_ydata().tolist() == [1e-16, 1e-9] and ax.get_xscale() == ax.get_yscale() == "log"
    assert ax.lines[2].get_xdata()[0] == pytest.approx(6.06e-6, rel=1e-2), "the step of compare"


def test_what_is_lost_is_orange_and_what_is_off_is_pale():
    rows = [
        ("printed", "float32", "z = 12", 11.99, 1.0, 12.0, 1.0),
        ("printed", "float32", "z = 20", np.inf, np.nan, 20.0, 1.0),
        ("kinks", "bfloat16", "z = 12", 12.03, 1.0, 12.0, 1.0),
        ("kinks", "bfloat16", "z = 20", 20.0, 0.0, 20.0, 1.0),
    ]
    columns = ["way", "precision", "place", "loss", "slope", "true", "true_slope"]
    ax = pictures.precisions(pd.DataFrame(rows, columns=columns))
    faces = [plt.matplotlib.colors.to_hex(patch.get_facecolor()).upper() for patch in ax.patches]
    assert faces == ["#F6D9B0", ORANGE, "#CFE3F2", ORANGE]
    assert {"11.99, 1", "inf, nan", "12.03, 1", "20, 0", "z = 12", "kinks, bfloat16"} <= set(texts(ax))


def test_the_chain_has_a_value_above_and_a_gradient_below_each_stop():
    ax = pictures.chain([("godfather", 0.278, 0.0278), ("z", 2.24, 0.151), ("loss", 1.35, 1.0)])
    at = {text.get_text(): text.get_position() for text in ax.texts}
    assert at["godfather"][0] == at["0.278"][0] == at["0.0278"][0] == 0 and at["z"][0] == at["0.151"][0] == 1
    assert at["2.24"][1] > at["z"][1] > at["0.151"][1] and inside(ax)
    arrows = [patch for patch in ax.patches if hasattr(patch, "get_arrowstyle")]
    assert len(arrows) == 4


def test_the_grid_has_a_word_in_each_place_and_padding_is_white():
    ax = pictures.felt([["toy", "story"], ["fargo"]], np.array([[0.1, 0.2], [0.05, 0.0]]))
    assert texts(ax) == ["toy 0.100", "story 0.200", "fargo 0.050", "– 0"]
    faces = [patch.get_facecolor() for patch in ax.patches]
    assert faces[3] == (1, 1, 1, 1) and faces[1][1] < faces[0][1] < faces[2][1], "darker is longer"


def test_parameters_without_a_gradient_are_named():
    ax = pictures.agreement({"users": 0.5, "a.key.bias": 1e-17}, {"users": 1e-16, "a.key.bias": 0.0})
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "1 with gradient",
        "1 with gradient 0: key.bias",
    ]
    assert ax.lines[0].get_xydata().tolist() == [[0.5, 1e-16]] and ax.lines[1].get_ydata().tolist() == [1e-18]


def test_the_arrow_of_a_pair_goes_from_the_worst_to_the_best():
    ax = pictures.questions({"Alien": 5, "Heat": None, "Fargo": 2})
    assert texts(ax).count("Alien\n★★★★★") == 3 and texts(ax).count("Heat\n?") == 3
    bow = next(patch for patch in ax.patches if hasattr(patch, "get_arrowstyle"))
    tail, tip = bow._posA_posB
    assert tail[0] == pytest.approx(2.47) and tip[0] == pytest.approx(0.47)
    single, shelf = [line for line in ax.lines if line.get_ydata()[0] > -1], ax.lines[-1]
    assert len(single) == 1, "one term looks at one film"
    assert shelf.get_xdata()[1] - shelf.get_xdata()[0] > 2.8, "all films"


def test_a_bar_of_gradient_for_each_way_and_film():
    table = pd.DataFrame({"all": [0.0, 0.1], "drawn": [0.3, -0.2]}, index=["Alien, 5", "Heat, 2"])
    ax = pictures.pulls(table)
    assert [bar.get_width() for bar in ax.patches] == [0.0, 0.1, 0.3, -0.2]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["Alien, 5", "Heat, 2"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1], "the first film on top"


def test_lists_have_titles_places_and_bars_of_ratings():
    long = "The Hunchback of Notre Dame and others"
    ax = pictures.lists({"with": [("Alien", 200), ("M", 600)], "without": [(long, 1), ("Cash $$$", 0)]}, most=400)
    assert {"with", "without", "1 Alien", "200", "2 M", "1 The Hunchback of Notre Dam…"} <= set(texts(ax))
    bars = [patch.get_width() for patch in ax.patches][1::2]
    assert bars == pytest.approx([0.475, 0.95, 0.95 / 400, 0.0]), "the longest bar ends with the field"
    ax.figure.canvas.draw()


def test_in_log_odds_the_shift_is_a_parallel_line():
    p = np.array([0.2, 0.4])
    bins = {"all": pd.DataFrame({"p": p, "truth": p}), "sample": pd.DataFrame({"p": [0.5, 0.8], "truth": p})}
    left, right = pictures.log_odds(bins, np.log(0.2))
    dashed = next(line for line in left.lines if line.get_linestyle() == "--")
    assert (dashed.get_ydata() - dashed.get_xdata()).tolist() == pytest.approx([np.log(0.2)] * 2)
    assert left.lines[1].get_xdata().tolist() == pytest.approx([0.0, np.log(4)]) and "-1.61 " in texts(left)
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["true = predicted", "the same, shifted"]
    assert left.lines[0].get_linewidth() > left.lines[1].get_linewidth(), "the first is seen behind the others"
    assert right.lines[1].get_xydata().tolist() == [[0.5, 0.2], [0.8, 0.4]]


def test_the_landscape_has_both_curves_and_a_label_at_each_start():
    start = (0.1, -0.05)
    ax = pictures.landscape({(0.0, 0.0): np.zeros((2, 2)), start: np.array([start, (1.2, 1.2)])})
    assert texts(ax) == ["(0, 0)", "(0.1, -0.05)"]
    curves = [line for line in ax.lines if line.get_color() == BLUE]
    assert len(curves) == 2
    for curve in curves:
        assert np.prod(curve.get_data(), axis=0) == pytest.approx(np.log(4))
    assert {np.sign(curve.get_xdata()[0]) for curve in curves} == {1, -1} and ax.get_aspect() == 1
    dot, label = ax.transData.transform((0, 0)), ax.texts[0].get_window_extent()
    assert min(abs(dot[0] - label.x1), abs(dot[0] - label.x0)) < 30, "the label is near its dot"


def test_what_each_squared_error_wants_is_a_point_for_each_number_of_stars():
    aims = pd.DataFrame({"stars": [1.0, 2, 3, 4, 5], "0 or 1": [0.0, 0, 0, 1, 1]}, index=range(1, 6))
    ax = pictures.targets(aims)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["stars", "0 or 1"]
    assert ax.lines[0].get_ydata().tolist() == [1, 2, 3, 4, 5] and ax.lines[1].get_ydata().tolist() == [0, 0, 0, 1, 1]
    assert {"not liked", "liked", "5", "0"} <= set(texts(ax))
