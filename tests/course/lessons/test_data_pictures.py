"""The drawings of notebook 01 show the rows and numbers that they were given, in colours that say what they mean."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from drawn import texts
from matplotlib.colors import to_hex

from klm_utils.course.lessons import cleaning, data_pictures
from klm_utils.course.lessons.data_pictures import BLUE, GREY, ORANGE, PALE, RED
from klm_utils.data.shop.cleaning import clean


def colours(ax):
    return [to_hex(patch.get_facecolor()).upper() for patch in ax.patches]


def test_each_defect_has_a_row_and_its_cells_are_coloured():
    raw = cleaning.raw_shop()
    items, users, log = data_pictures.defects(raw, cleaning.checks(raw))
    assert {"小米手机", "１９９.０", "languages swapped", "an id that is twice"} <= set(texts(items))
    assert colours(items).count(RED) == 2 + 1 + 2 + 1 + 2 and colours(items).count(PALE) == 7 * 5 - 8
    assert {"age and tier swapped", "26", "女"} <= set(texts(users)) and colours(users).count(RED) == 1 + 2 + 1
    assert {"an unknown item", "written twice", "two in one second"} <= set(texts(log))
    assert colours(log).count(RED) == 1 + 2 * 3, "two rows where it takes two"
    assert colours(log).count(GREY) == 2 * 2, "two of one second are kept"


def test_the_order_of_two_repairs_decides_about_the_age():
    said = texts(data_pictures.order(plt.figure().subplots()))
    assert said.count("age 4\ntier 26") == 2
    assert said.count("age missing\ntier 26") == 2 and said.count("age 26\ntier 4") == 2
    assert [t for t in said if t in ("range", "places")] == ["range", "places", "places", "range"]


def test_the_funnel_has_every_rule_in_the_colour_of_what_it_does():
    raw = cleaning.raw_shop()
    ax = data_pictures.funnel(raw, clean(**raw), plt.figure().subplots())
    said = texts(ax)
    assert {"items\n606 rows in", "600\nrows out", "unknown\n30", "twice\n40", "one second\n25", "number\n9"} <= set(
        said
    )
    by_text = dict(zip([t for t in said if t], colours(ax), strict=False))
    assert (
        by_text["twice\n40"] == RED
        and by_text["number\n9"] == ORANGE == by_text["empty\n60"]
        and by_text["full-width\n24"] == BLUE
    )
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["repaired", "now missing", "row dropped", "kept"]


def test_the_line_of_half_and_the_floor_are_where_they_are():
    axes = plt.figure().subplots(1, 2)
    left, right = data_pictures.tail_and_floor(np.array([1, 5, 1, 3]), pd.Series([20, 21, 500]), axes)
    assert left.lines[1].get_xdata()[0] == 1 and "1 of 4 films" in texts(left)[0]
    assert (
        right.lines[0].get_xdata()[0] == 20 and "fewer than 20" in texts(right)[0] and "1 users" in right.get_xlabel()
    )


def test_waves_have_first_days_in_blue():
    days = pd.DataFrame({"rows": [5, 4], "first": [5, 1]})
    one, two = data_pictures.waves({"films": days, "shop": days}, {"shop": (1, 6, "here")}, plt.figure().subplots(1, 2))
    assert [bar.get_height() for bar in one.patches] == [5, 1, 0, 3] and colours(one)[:2] == [BLUE, BLUE]
    assert [bar.get_y() for bar in one.patches] == [0, 3, 0, 0], "blue on grey"
    assert texts(two) == ["here"] and two.texts[0].xy == (1, 4) and two.get_title() == "shop"


def test_the_timeline_marks_history_tie_and_target():
    near = pd.DataFrame(
        {
            "title": ["Blade Runner", "Terminator 2: Judgment Day", "Alien", "Big"],
            "seconds": [-25, 0, 0, 9],
            "target": [False, False, True, False],
            "above": [81, 82, 83, 84],
        }
    )
    ax = data_pictures.timeline(near)
    dots = [(line.get_xdata()[0], line.get_color()) for line in ax.lines if line.get_marker() == "o"]
    assert dots == [(0, BLUE), (1, RED), (2, ORANGE), (3, "#BBBBBB")]
    assert {
        "the history: 81 earlier films, and these",
        "-25 s",
        "0 s",
        "+9 s",
        "target",
        "same second:\nnot before",
    } <= set(texts(ax))
    assert ax.patches[-1].get_x() + ax.patches[-1].get_width() == pytest.approx(0.5), "the history ends before the tie"


def test_pairs_are_drawn_from_film_to_sequel():
    ax = data_pictures.pairs(
        pd.DataFrame({"film": ["Heat", "Cash $$$"], "sequel": ["Big", "Ran"]}), plt.figure().subplots()
    )
    at = {text.get_text(): text.get_position() for text in ax.texts}
    assert at["Heat"][1] == at["Big"][1] > at["Ran"][1] and at["Heat"][0] < at["Big"][0]


def test_what_is_outside_of_the_shuffles_is_blue():
    found = pd.DataFrame(
        {"pairs": [57, 16], "alike": [0.25, 0.92], "low": [0.1, 0.1], "high": [0.3, 0.5]}, index=["a sequel", "title"]
    )
    ax = data_pictures.alike(found, plt.figure().subplots())
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


def test_panels_have_their_heights_and_margins_of_their_own():
    top, below = data_pictures.panels(1, 3, columns=2)
    assert len(top) == len(below) == 2 and top[0].figure is not below[0].figure
    top[0].set_yticks([0], ["a long label of the upper line"])
    figure = top[0].get_figure(root=True)
    figure.canvas.draw()
    assert figure.get_size_inches().tolist() == [8, 4]
    assert top[0].get_window_extent().x0 > below[0].get_window_extent().x0 + 50
