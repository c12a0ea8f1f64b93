"""The drawings of notebook 03 show the lists, numbers and marks that they were given."""

import numpy as np
import pandas as pd
import pytest
from drawn import texts
from matplotlib.colors import to_hex
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from klm_utils.course.lessons import fusion_pictures as pictures
from klm_utils.course.lessons.fusion_boxes import SOURCES
from klm_utils.plots import COLOURS


def numbers(name):
    """Boxes of a layer, each with two numbers of its own."""
    names = {"user", "past", "id", "text", "tags", *SOURCES[name]}
    found = {box: np.array([0.01 * place, -0.02 * place]) for place, box in enumerate(sorted(names))}
    return found | {"score": np.array(0.37)}


def test_the_joined_list_stands_under_every_person_and_shared_titles_are_grey():
    same = {name: ["Fargo", "Alien"] for name in ("Ann", "Ben")}
    above, below = pictures.five_lists(same, {"Ann": ["Alien", "Heat"], "Ben": ["Fargo", "Heat"]})
    assert texts(above).count("1 Fargo") == texts(above).count("2 Alien") == 2
    assert {"Ann", "Ben", "1 Alien", "1 Fargo"} <= set(texts(below)) and texts(below).count("2 Heat") == 2
    assert {to_hex(patch.get_facecolor()) for patch in above.patches} == {pictures.PALE.lower()}
    colours = [to_hex(patch.get_facecolor()) for patch in below.patches]
    assert colours[1] == colours[3] == pictures.PALE.lower() and len({colours[0], colours[2]}) == 2


def test_a_long_title_is_cut_and_says_so():
    assert (
        pictures.short("Dr. Strangelove or: How I Learned", 15) == "Dr. Strangelov…"
        and pictures.short("Heat") == "Heat"
    )


def test_sums_have_one_order_in_each_column_and_products_their_own():
    a, b = pd.Series([4.0, 3.0], ["Alien", "Aladdin"]), pd.Series([0.5, -0.5], ["Ann", "Ben"])
    left, right = pictures.sums_and_products(a, b, pd.DataFrame([[1.0, 5.0], [2.0, 3.0]], a.index, b.index))
    assert {"4.50  (1)", "3.50  (1)", "3.50  (2)", "2.50  (2)", "4.00", "Ann\n+0.50"} <= set(texts(left))
    assert {"1.00  (2)", "2.00  (1)", "5.00  (1)"} <= set(texts(right))
    blue = [patch.get_x() for patch in right.patches if to_hex(patch.get_facecolor()) == COLOURS[0].lower()]
    assert blue == [1, 0], "Ben's first is Alien, Ann's Aladdin"


def test_one_list_for_all_is_orange():
    ax = pictures.agreement({"sum": [1.0, 1.0], "product": [0.1, 0.9]})
    assert [line.get_color() for line in ax.lines[::2]] == [COLOURS[1], COLOURS[0]]
    assert ax.lines[2].get_xdata().tolist() == [0.1, 0.9] and ax.lines[3].get_xdata() == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("name", SOURCES)
def test_a_layer_shows_every_box_with_its_numbers_and_an_arrow_from_each_source(name):
    ax = pictures.layer(name, numbers(name))
    shown = {text.split("\n")[0] for text in texts(ax)}
    assert {"user", "past", "id", "text", "tags", *SOURCES[name]} <= shown and "score\n0.37" in texts(ax)
    arrows = [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]
    assert len(arrows) == sum(len(sources.split()) for sources in SOURCES[name].values())
    places = [patch.get_bbox() for patch in ax.patches if isinstance(patch, FancyBboxPatch)]
    for at, one in enumerate(places):
        assert not any(one.overlaps(other) for other in places[at + 1 :]), "boxes do not overlap"


def test_a_note_replaces_the_numbers_of_a_box():
    both = {"tags": numbers("tags"), "dot": numbers("dot")}
    ((ax, _),) = pictures.layers(("tags", "dot"), both, {"tags": {"attention": "Horror 0.4"}})
    assert "attention\nHorror 0.4" in texts(ax)


def test_a_timeline_writes_each_weight_and_marks_the_highest():
    first, second = pictures.timeline(["Alien", "Heat"], {"mean": [0.5, 0.5], "recency": [0.2, 0.8]})
    assert texts(second) == ["0.20", "0.80"] and [bar.get_height() for bar in second.patches] == [0.2, 0.8]
    assert to_hex(second.patches[1].get_facecolor()) == COLOURS[0].lower()
    assert len({bar.get_facecolor() for bar in first.patches}) == 1, "nothing is marked where all are alike"
    assert len({bar.get_facecolor() for bar in pictures.timeline(["A", "B"], {"": [0.1, 0.11]})[0].patches}) == 1
    (ax,) = pictures.timeline(["Alien", "Heat", "Fargo"], {"mean": [0.0, 0.5, 0.5]})
    assert COLOURS[0].lower() not in {to_hex(bar.get_facecolor()) for bar in ax.patches}, "nor where two are highest"
    assert [label.get_text() for label in second.get_xticklabels()] == ["Alien", "Heat"]


def test_the_target_is_marked_in_its_own_history():
    ax = pictures.own_history(["Alien", "The Godfather"], "The Godfather")
    films = [patch for patch in ax.patches if not isinstance(patch, FancyArrowPatch)]
    marked = [patch.get_x() for patch in films if to_hex(patch.get_facecolor()) == COLOURS[1].lower()]
    assert marked == [1] and any("this person and The Godfather" in text for text in texts(ax))


def test_train_and_test_are_joined_by_a_line():
    values = pd.DataFrame({"train": [0.7, 0.9], "test": [0.69, 0.6]}, index=["out", "in"])
    ax = pictures.train_and_test(values, "AUC")
    assert ax.lines[1].get_ydata().tolist() == [0.9, 0.6] and {"0.900", "0.600  in", "0.690  out"} <= set(texts(ax))
    heights = {text.get_text(): text.get_position()[1] for text in ax.texts}
    assert heights["0.600  in"] < 0.6 and heights["0.690  out"] > 0.69, "pushed apart"


def test_four_tables_share_one_scale_and_grey_contains_zero():
    rows = {"gate": (-0.02, -0.03, -0.01, -0.04, -0.005), "tags": (0.01, 0.005, 0.015, -0.01, 0.03)}
    axes = pictures.four_tables({"films": rows, "shop": rows}, "AUC")
    assert axes[0, 0].get_xlim() == axes[0, 1].get_xlim()
    dots = [line for line in axes[0, 0].lines if line.get_marker() == "o"]
    assert [dot.get_color() for dot in dots] == [COLOURS[1], "#999999"]
    rows |= {"dot": (0.01, 0.005, 0.015, float("nan"), float("nan"))}
    ax = pictures.differences(rows, "AUC")
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    assert [dot.get_color() for dot in dots] == [COLOURS[1], "#999999", COLOURS[0]] and ax.get_xlabel() == "AUC"
    assert [label.get_text() for label in ax.get_yticklabels()] == ["gate", "tags", "dot"]


def test_folds_stand_below_what_the_columns_cost():
    rows = {"as linked": (-0.02, -0.03, -0.01, -0.04, -0.005)}
    folds = pd.DataFrame({"test": [0.01, -0.02, 0.03]})
    above, below = pictures.worth_and_folds(rows, "AUC", folds, (0.01, 0.0, 0.02, -0.01, 0.03))
    assert above.get_xlabel() == "AUC" and above.get_xlim() == below.get_xlim()
    assert [label.get_text() for label in above.get_yticklabels()] == ["as linked"]
    assert COLOURS[1] not in [line.get_color() for line in below.lines], "orange is worse"


def test_gates_show_the_numbers_of_six_films_and_the_lengths_of_all():
    rows = [0, 1, 10, 50, 200, 400, 20]
    films = pd.DataFrame({"rows": rows, "id": np.arange(7) / 10, "content": 1.0})
    left, right = pictures.gates(films, np.linspace(0, 1, 14).reshape(7, 2), [f"film {n}" for n in rows])
    dots = [line for line in left.lines if line.get_marker() == "o"]
    assert [len(line.get_xdata()) for line in dots] == [2] * 6
    assert left.get_yticklabels()[5].get_text() == "film 400 (400)"
    assert right.lines[0].get_ydata().tolist() == films["id"].tolist() and right.lines[3].get_ydata()[0] == 1
    assert right.get_xticklabels()[0].get_text() == "0: new"


def test_importance_has_a_bar_and_a_span_for_each_input():
    rows = {"id": (0.1, 0.05, 0.2), "text": (0.0, 0.0, 0.0)}
    ax, other = pictures.importance({"films": rows, "shop": {"id": (0.4, 0.3, 0.5), "text": (0.0, 0.0, 0.0)}}, "loss")
    assert ax.get_xlim() == other.get_xlim()
    assert [bar.get_width() for bar in ax.patches] == [0.1, 0.0]
    assert ax.lines[0].get_xdata().tolist() == [0.05, 0.2]
