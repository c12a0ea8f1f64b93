"""The drawings of notebook 05 show the numbers that they were given."""

import itertools

import numpy as np
import pandas as pd
import pytest
from drawn import texts
from matplotlib.colors import same_color
from matplotlib.patches import FancyArrowPatch

from klm_utils.course.lessons import training_pictures as pictures


def rectangles(ax):
    return [patch for patch in ax.patches if not isinstance(patch, FancyArrowPatch)]


def test_curves_have_a_ring_at_the_best_epoch_and_a_ground_where_the_language_model_learns():
    histories = {
        name: pd.DataFrame({"valid": v}, index=[1, 2, 3]) for name, v in (("a", [1, 3, 2]), ("full", [1, 2, 4]))
    }
    ax = pictures.curves(histories, 2, "nDCG@10")
    rings = [line.get_xydata().tolist() for line in ax.lines if line.get_markersize() == 9]
    assert rings == [[[2, 3]], [[3, 4]]] and [t.get_text() for t in ax.get_legend().get_texts()] == ["a", "full"]
    (ground,) = rectangles(ax)
    assert (ground.get_x(), ground.get_width()) == (2.5, 1.0) and "learns from here" in texts(ax)[0]


def test_each_fold_is_a_line_and_each_mean_a_bar_with_its_number():
    values = pd.DataFrame({"no text": [0.2, 0.4], "full": [0.3, 0.6]}, index=[0, 1])
    ax = pictures.fold_values(values, "nDCG@10", marked=1)
    folds = [line for line in ax.lines if line.get_marker() == "o"]
    assert [line.get_ydata().tolist() for line in folds] == values.to_numpy().tolist()
    assert same_color(folds[1].get_color(), pictures.TRAINED) and not same_color(folds[0].get_color(), pictures.TRAINED)
    assert texts(ax) == ["0.300", "0.450", "fold 1"]


def test_two_runs_part_where_the_language_model_begins_to_learn():
    still = {str(fold): {"test": [0.1] * 20} for fold in range(2)}
    taught = {str(fold): {"test": [0.1] * 12 + [0.2 + 0.1 * fold] * 8} for fold in range(2)}
    left, right = pictures.fork(taught, still, starts=12, kept=[12, 20, 20])
    blue, orange, ticks = left.lines
    assert blue.get_ydata().tolist() == pytest.approx([0.1] * 20) and orange.get_xdata()[0] == 12
    assert orange.get_ydata().tolist() == pytest.approx([0.1] + [0.25] * 8)
    assert ticks.get_xdata().tolist() == [12, 20, 20] and len(set(ticks.get_ydata())) == 2, "one above the other"
    *folds, mean = right.lines
    assert [line.get_ydata()[-1] for line in folds] == pytest.approx([0.1, 0.2]) and texts(right) == ["+0.150"]
    assert mean.get_ydata()[0] == 0 and all(rectangles(ax)[0].get_x() == 12.5 for ax in (left, right))


def test_lists_join_what_is_in_both_and_colour_what_came():
    ax = pictures.lists(["Aliens", "Bad Moon"], ["Jaws", "Aliens"], "Alien $")
    colour = {text.get_text(): text.get_color() for text in ax.texts}
    assert colour["Aliens  1"] == colour["2  Aliens"] == pictures.NEW
    assert colour["Bad Moon  2"] == pictures.GREY and colour["1  Jaws"] == pictures.TRAINED
    (line,) = ax.lines
    assert list(line.get_ydata()) == [0, -1] and "after: nearest to Alien $" in colour


def test_a_stack_is_coloured_by_what_learns_and_its_arrow_ends_where_it_is_told():
    axes = pictures.stacks(dict.fromkeys(pictures.MODES, 1234), {"frozen": 0, "adapter": 6, "partial": 2, "full": 6})
    orange = [sum(same_color(p.get_facecolor(), pictures.TRAINED) for p in rectangles(ax)) for ax in axes]
    assert orange == [0, 6, 2, 6], "of the adapter the thin ones"
    assert all("1,234\nnumbers learn" in texts(ax) for ax in axes)
    arrows = [next(p for p in ax.patches if isinstance(p, FancyArrowPatch)) for ax in axes]
    ends = [arrow._posA_posB[1][1] for arrow in arrows]
    assert ends[0] > ends[2] > ends[1] == ends[3]
    assert pictures.stacks(dict.fromkeys(pictures.MODES, 1), {}).size == 4, "nothing predicted yet"


def test_the_share_at_the_rank_is_written():
    ax = pictures.low_rank({"added": np.array([0.5, 0.75, 1.0]), "itself": np.array([0.25, 0.5, 1.0])}, rank=2)
    assert {"75%", "50%", "rank 2"} <= set(texts(ax)) and len(ax.lines) == 5


def test_thin_matrices_are_drawn_to_scale():
    ax = pictures.thin(40, 20, rank=4)
    w, b, a = rectangles(ax)
    assert w.get_height() == pytest.approx(2 * w.get_width()) and b.get_height() == w.get_height()
    assert b.get_width() == pytest.approx(w.get_width() / 5) == pytest.approx(a.get_height())
    assert any("800" in text for text in texts(ax)) and any("240 in place of\n800: 30.0%" in text for text in texts(ax))


def test_a_square_per_row_and_a_square_per_film():
    left, right = pictures.once(["Alien", "Jaws", "Alien"], across=2)
    assert len(rectangles(left)) == 3 and len(rectangles(right)) == 2
    assert texts(left) == ["A", "J", "A"] and texts(right) == ["A", "Alien: 2 rows", "J", "Jaws: 1 rows"]
    assert right.get_title() == "each film once: 2 texts read"
    assert (
        rectangles(left)[0].get_facecolor()
        == rectangles(left)[2].get_facecolor()
        == rectangles(right)[0].get_facecolor()
    )


def test_memory_is_stacked_left_and_paired_right():
    parts = pd.DataFrame({"weights": [10.0, 20.0], "kept": [5.0, 6.0]}, index=["full", "adapter"])
    left, right = pictures.memory(parts, pd.DataFrame({"usual": [30, 40], "at once": [25, 22]}, index=parts.index))
    assert texts(left) == ["15", "26"] and texts(right) == ["30", "40", "25", "22"]
    assert [label.get_text() for label in left.get_yticklabels()] == ["full", "adapter"]
    assert left.get_ylim()[0] > left.get_ylim()[1], "the first on top"


def test_two_runs_are_called_equal_only_if_they_are():
    ax = pictures.resumed([0.5, 0.4, 0.3], [0.5, 0.4, 0.3], killed=1)
    assert "equal to the bit" in texts(ax) and texts(ax).count("epoch 2\n0.4000") == 2
    green = [patch for patch in rectangles(ax) if same_color(patch.get_facecolor(), pictures.COLOURS[2])]
    assert len(green) == 2, "the epochs after the break"
    assert "NOT equal" in texts(pictures.resumed([0.5, 0.4], [0.5, 0.41], killed=1))


def test_the_hidden_word_is_not_shown_and_the_right_guess_is_coloured():
    found = {"before": [("insult", 0.002)], "after": [("horror", 0.5), ("drama", 0.2)]}
    ax = pictures.guesses(["the", "shining", ".", "horror"], 3, found)
    colour = {text.get_text(): text.get_color() for text in ax.texts}
    assert "?" in colour and "horror" not in colour and "insult <1%" in colour
    assert colour["horror 50%,  drama 20%"] == pictures.NEW
    boxes = sorted((patch.get_x(), patch.get_x() + patch.get_width()) for patch in rectangles(ax))
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(boxes))
