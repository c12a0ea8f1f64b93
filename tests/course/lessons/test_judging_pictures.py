"""The drawings show the numbers that they were given, inside of their axes."""

import itertools

import numpy as np
import pandas as pd
import pytest
from drawn import texts

from klm_utils.course.lessons import judging_pictures


def test_a_list_has_places_titles_and_what_a_hit_is_worth():
    ax = judging_pictures.ranked_list(["Fargo", "Alien", "Cash $$$"], [0, 1, 1], k=2)
    assert {"1", "2", "3", "Fargo", "Cash $$$", "1 / log2(3) = 0.63", "k = 2"} <= set(texts(ax))
    assert texts(ax).count("0") == 2, "no hit, and a hit behind k"
    ax.figure.canvas.draw()


def test_each_part_is_test_once_and_valid_once():
    ax = judging_pictures.folds_of(["Alien", "Fargo"], folds=4)
    assert texts(ax).count("test") == texts(ax).count("valid") == 4 and "fold 3" in texts(ax)
    places = [text.get_position() for text in ax.texts if text.get_text() == "test"]
    assert len({x for x, _ in places}) == len({y for _, y in places}) == 4


def test_coverage_is_written_and_coloured_by_what_was_promised():
    ax = judging_pictures.coverage_bars({"users": 0.83, "both": 0.94}, 400)
    assert texts(ax) == ["0.830", "0.940"] and "400 worlds" in ax.get_xlabel()
    assert len({line.get_color() for line in ax.lines if line.get_linewidth() == 6}) == 2


def test_a_band_says_how_many_shuffles():
    ax = judging_pictures.band(0.44, np.array([0.35, 0.36, 0.34]), "nDCG@10")
    assert "shuffled, 3 times" in [text.get_text() for text in ax.get_legend().get_texts()]
    assert 0.44 in ax.lines[0].get_xdata()


def test_two_rankings_show_each_model_in_its_colour_the_first_on_top():
    values = pd.DataFrame({"among all": [0.3, 0.2], "among 100": [0.5, 0.6]}, index=["EASE", "kNN"])
    axes = judging_pictures.two_rankings(values, "nDCG@10")
    for ax, name in zip(axes, values, strict=True):
        assert [bar.get_width() for bar in ax.patches] == values[name].tolist() and name in ax.get_xlabel()
    assert axes[0].get_ylim() == axes[1].get_ylim() and axes[0].get_ylim()[0] > axes[0].get_ylim()[1]
    assert axes[0].get_xlim() == axes[1].get_xlim(), "bars of two panels can be compared"


def test_the_tail_has_a_bar_and_a_point_for_each_part():
    parts = pd.DataFrame({"rows of the item in train": [3.0, 80.0], "auc": [0.7, 0.8]})
    left, right = judging_pictures.tail(parts.assign(liked=[0.4, 0.6], predicted=[0.5, 0.6]))
    assert [text.get_text() for text in left.get_xticklabels()] == ["3", "80"]
    assert right.lines[1].get_xydata().tolist() == [[0.5, 0.4], [0.6, 0.6]]
    assert right.lines[0].get_xdata() == pytest.approx([0.35, 0.65]), "the line of perfect calibration spans them"


def test_damage_stands_beside_the_band():
    left, right = judging_pictures.damage(0.44, np.array([0.35, 0.36]), {0.0: 0.4, 1.0: 0.2}, "nDCG@10 of new films")
    assert len(left.lines) == 1 and right.lines[0].get_xydata().tolist() == [[0.0, 0.4], [1.0, 0.2]]
    assert right.get_ylabel() == "nDCG@10" and right.get_ylim()[1] > 0.41, "the first point is not cut"


def test_settings_have_a_ring_at_what_valid_picks():
    rows = [("EASE", 1.0, 0.2, 0.3, False), ("EASE", 300.0, 0.3, 0.4, True), ("kNN", (20, 0.0), 0.1, 0.2, True)]
    tried = pd.DataFrame(rows, columns=["model", "setting", "valid", "test", "picked"])
    left, right = judging_pictures.settings(tried, "nDCG@10")
    assert [label.get_text() for label in left.get_xticklabels()] == ["1", "300"]
    assert [label.get_text() for label in right.get_xticklabels()] == ["20, 0"]
    rings = [line.get_xydata().tolist() for line in left.lines if line.get_markersize() == 11]
    assert rings == [[[1, 0.3]], [[1, 0.4]]]
    assert all(0.2 in ax.lines[-1].get_ydata() for ax in (left, right)), "the pick of the last, in both panels"


def test_each_interval_has_its_name_and_is_grey_where_it_holds_zero():
    found = {"users": (0.1, 0.2), "folds": (-0.1, 0.4)}
    ax = judging_pictures.folds_and_intervals(np.array([0.1, 0.2, 0.15]), found, "difference")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["3 folds", "users", "folds"]
    users, folds = ax.lines[-2:]
    assert folds.get_xdata().tolist() == [-0.1, 0.4] and users.get_color() != folds.get_color() == "#999999"


def test_shares_are_written_as_they_are_and_no_value_is_cut():
    people = pd.DataFrame({"EASE": [0.5, 0.3]}, index=[0, 5])
    left, right = judging_pictures.cold_start(people, pd.DataFrame({"EASE": [0.1, 0.35]}, index=[0.05, 1.0]))
    assert [label.get_text() for label in right.get_xticklabels()] == ["0.05", "1"]
    assert left.get_ylim()[1] > 0.5 and right.get_ylim()[1] > 0.35 and not len(right.get_xticks(minor=True))


def test_the_values_on_neighbouring_bars_do_not_overlap():
    aucs = pd.DataFrame({name: [0.77, 0.5] for name in ("bias", "logistic", "KLM")}, index=["nobody", "both"])
    ax = judging_pictures.who_is_new(pd.concat([aucs, aucs]))
    ax.figure.canvas.draw()
    boxes = sorted((text.get_window_extent() for text in ax.texts), key=lambda box: box.x0)
    assert len(boxes) == 12 and all(a.x1 <= b.x0 for a, b in itertools.pairwise(boxes))
