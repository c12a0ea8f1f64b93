"""The drawings of notebook 01 show the rows and numbers that they were given, in colours that say what they mean."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from klm_utils import plots
from klm_utils.course.lessons import cleaning, data_pictures
from klm_utils.course.lessons.data_pictures import BLUE, GREY, ORANGE, PALE, RED
from klm_utils.data.shop.cleaning import clean


@pytest.fixture(autouse=True)
def closed():
    plots.chinese()
    yield
    for number in plt.get_fignums():  # nothing that cannot be drawn
        plt.figure(number).canvas.draw()
    plt.close("all")


def texts(ax):
    return [text.get_text() for text in ax.texts]


def colours(ax):
    return [to_hex(patch.get_facecolor()).upper() for patch in ax.patches]


def test_each_defect_has_a_row_and_its_cells_are_coloured():
    raw = cleaning.raw_shop()
    items, users, log = data_pictures.defects(raw, cleaning.checks(raw))
    assert {"小米手机", "１９９.０", "languages swapped", "an id that is twice"} <= set(texts(items))
    assert colours(items).count(RED) == 2 + 1 + 2 + 1 + 1 and colours(items).count(PALE) == 6 * 5 - 7
    assert {"age and tier swapped", "26", "女"} <= set(texts(users)) and colours(users).count(RED) == 1 + 2 + 1
    assert {"an unknown item", "written twice", "two in one second"} <= set(texts(log))
    assert colours(log).count(RED) == 1 + 2 * 3 + 2 * 2, "two rows where it takes two"


def test_the_order_of_two_repairs_decides_about_the_age():
    said = texts(data_pictures.order())
    assert said.count("age 4\ntier 26") == 2
    assert said.count("age missing\ntier 26") == 2 and said.count("age 26\ntier 4") == 2
    assert [t for t in said if t in ("range", "places")] == ["range", "places", "places", "range"]


def test_the_funnel_has_every_rule_in_the_colour_of_what_it_does():
    raw = cleaning.raw_shop()
    ax = data_pictures.funnel(raw, clean(**raw))
    said = texts(ax)
    assert {"items\n606 rows in", "600\nrows out", "unknown\n30", "twice\n40", "tie\n25", "number\n69"} <= set(said)
    by_text = dict(zip([t for t in said if t], colours(ax), strict=False))
    assert by_text["twice\n40"] == RED and by_text["number\n69"] == ORANGE and by_text["width\n24"] == BLUE
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["repaired", "made missing", "row dropped", "kept"]


def test_the_line_of_half_and_the_floor_are_where_they_are():
    left, right = data_pictures.tail_and_floor(np.array([1, 5, 1, 3]), pd.Series([20, 21, 500]))
    assert left.lines[1].get_xdata()[0] == 1 and "1 of 4 films" in texts(left)[0]
    assert (
        right.lines[0].get_xdata()[0] == 20 and "fewer than 20" in texts(right)[0] and "1 users" in right.get_xlabel()
    )


def test_waves_have_first_days_in_blue():
    days = pd.DataFrame({"rows": [5, 4], "first": [5, 1]})
    one, two = data_pictures.waves({"films": days, "shop": days}, {"shop": (0, 4, "here")})
    assert [bar.get_height() for bar in one.patches] == [5, 1, 0, 3] and colours(one)[:2] == [BLUE, BLUE]
    assert texts(two) == ["here"] and two.get_title() == "shop"


def test_the_timeline_marks_history_tie_and_target():
    near = pd.DataFrame(
        {
            "title": ["Blade Runner", "Terminator 2: Judgment Day", "Alien", "Big"],
            "seconds": [-25, 0, 0, 9],
            "target": [False, False, True, False],
        }
    )
    ax = data_pictures.timeline(near)
    dots = [(line.get_xdata()[0], line.get_color()) for line in ax.lines if line.get_marker() == "o"]
    assert dots == [(0, BLUE), (1, RED), (2, ORANGE), (3, "#BBBBBB")]
    assert {"-25 s", "0 s", "+9 s", "target", "same second:\nnot before"} <= set(texts(ax))
    assert ax.patches[-1].get_x() + ax.patches[-1].get_width() == pytest.approx(0.5), "the history ends before the tie"


def test_a_missing_field_leaves_nothing():
    row = {"title": "小米手机", "price": 9.0}
    parts = {"title": "小米手机。", "price": "价格9。"}
    both = [(row, parts), (row | {"price": float("nan")}, parts | {"price": ""})]
    said = texts(data_pictures.sentence(both, "小米手机 nan"))
    assert said.count("nothing") == 1 and said.count("价格9。") == 1 and said.count("title") == 1
    assert "template:  小米手机。" in said and "naive:  小米手机 nan" in said
    assert data_pictures._lines("a" * 20) == "a" * 18 + "\naa"
    assert data_pictures._lines("手" * 30).endswith("...")


def test_twins_stand_in_one_line():
    ax = data_pictures.twins(["Big", "Heat"], [(1, 2), (3, 4)], [(10, 20), (5, 6)])
    at = {text.get_text(): text.get_position()[1] for text in ax.texts}
    assert at["Big"] == at["id 1: 10 ratings"] == at["id 2: 20 ratings"] > at["Heat"]


FOUND = pd.DataFrame(
    {"leak": [1.0, 0.61], "honest": [0.55, 0.59], "worth": [0.45, 0.02], "low": [0.4, 0.01], "high": [0.5, 0.03]},
    index=["A: an id", "B: a share"],
)


def test_each_leak_enters_at_the_features():
    ax = data_pictures.pipeline()
    said = texts(ax)
    assert [t for t in said if t in ("split", "features", "model")] == ["split", "features", "model"]
    assert "C: a count over all rows" in said and not any("AUC " in t for t in said)
    box = ax.texts[said.index("features")].get_position()[0]
    arrows = [patch for patch in ax.patches if type(patch).__name__ == "FancyArrowPatch"]
    assert len(arrows) == 3 and all(abs(a._posA_posB[1][0] - box) < 0.5 for a in arrows), "all end at the features"


def test_a_dot_above_the_first_is_red():
    found = pd.DataFrame({"auc": [0.55, 0.54, 0.76], "low": [0.53, 0.52, 0.75], "high": [0.56, 0.56, 0.77]})
    ax = data_pictures.dots(found.set_axis(["position", "later", "all"]))
    dots = [(line.get_xdata()[0], line.get_color()) for line in ax.lines if line.get_marker() == "o"]
    assert dots == [(0.55, GREY), (0.54, GREY), (0.76, RED)] and texts(ax) == ["0.550", "0.540", "0.760"]


def test_a_dumbbell_goes_from_honest_to_leak():
    ax = data_pictures.dumbbells(FOUND, 0.79)
    assert list(ax.lines[0].get_xdata()) == [0.55, 1.0] and "+0.450  [+0.400, +0.500]" in texts(ax)
    assert "true probabilities 0.790" in texts(ax) and [t.get_text() for t in ax.get_yticklabels()] == list(FOUND.index)


def test_the_knob_has_a_star_for_the_reader_inside_of_the_picture():
    points = {"item_id": pd.Series({"rows": 200.0, "worth": 0.02, "low": 0.01, "high": 0.03})}
    mine = {"user_id": pd.Series({"rows": 5.0, "worth": 0.4, "low": 0.3, "high": 0.5})}
    ax = data_pictures.knob(points, pd.Series({2: 0.39, 200: 0.03}), mine)
    stars = [c for c in ax.collections if hasattr(c, "get_sizes") and c.get_sizes().tolist() == [180]]
    assert [s.get_offsets().tolist() for s in stars] == [[[5.0, 0.4]]] and ax.get_ylim()[1] > 0.4
    assert ax.get_xscale() == "log" and "item_id" in texts(ax)
    assert ax.lines[0].get_ydata().tolist() == [0.39, 0.03]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["random groups of rows", "yours: user_id"]


def test_an_alarm_that_rings_is_red():
    heard = {"alone_heard": [True], "moved_heard": [False], "truth_heard": [True]}
    ax = data_pictures.alarm_grid(pd.DataFrame({"alone": [1.0], "moved": [0.0], "truth": [0.2]} | heard, index=["A"]))
    assert colours(ax) == [RED, PALE, RED]
    assert {"1.000\nfound", "0.000\nnothing", "+0.200\nfound", "A"} <= set(texts(ax))


def test_coverage_has_two_bars_each():
    found = pd.DataFrame({"older": [1.0], "newer": [0.77], "met": [0.5]}, index=["tags"])
    ax = data_pictures.coverage_bars(found)
    assert [bar.get_width() for bar in ax.patches] == [77.0, 50.0] and texts(ax) == ["77%", "50%"]


def test_pairs_are_drawn_from_film_to_sequel():
    ax = data_pictures.pairs(pd.DataFrame({"film": ["Heat", "Cash $$$"], "sequel": ["Big", "Ran"]}))
    at = {text.get_text(): text.get_position() for text in ax.texts}
    assert at["Heat"][1] == at["Big"][1] > at["Ran"][1] and at["Heat"][0] < at["Big"][0]


def test_what_is_outside_of_the_shuffles_is_blue():
    found = pd.DataFrame(
        {"pairs": [57, 16], "alike": [0.25, 0.92], "low": [0.1, 0.1], "high": [0.3, 0.5]}, index=["a sequel", "title"]
    )
    ax = data_pictures.alike(found)
    dots = [line.get_color() for line in ax.lines if line.get_marker() == "o"]
    assert dots == [RED, BLUE] and [t.get_text() for t in ax.get_yticklabels()] == [
        "a sequel (57 pairs)",
        "title (16 pairs)",
    ]


def test_a_list_has_new_films_in_orange():
    ax = data_pictures.lists({"Anna": ["Heat"]}, {"Anna": ["Big", "Ran"]}, fresh=["Ran"])
    assert colours(ax)[-2:] == [BLUE, ORANGE] and texts(ax)[:2] == ["Anna", "Heat"]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["seen", "train has it", "no click in train"]
    assert data_pictures._cut("x" * 40, 32).endswith("...")
