"""The drawings of texts in notebook 02 show the tokens and numbers that they were given."""

import numpy as np
import pytest
from drawn import texts

from klm_utils.course.lessons import token_pictures as pictures


def colours(ax):
    return [patch.get_facecolor() for patch in ax.patches]


def test_pieces_that_a_model_does_not_know_have_another_colour():
    ax = pictures.pieces("小米", {"minilm": ["小", "[UNK]"], "e5": ["小米"]}, ["[UNK]"])
    assert texts(ax) == ["小米", "minilm", "小", "[UNK]", "e5", "小米"]
    known, lost, whole = colours(ax)
    assert known == whole != lost


def test_tags_with_one_vector_are_counted_and_crossed():
    cosine = np.array([[1, 1, 0.2], [1, 1, 0.2], [0.2, 0.2, 1]])
    axes = pictures.same_or_not({"minilm": cosine, "e5": np.eye(3)}, ["a", "b", "c"])
    assert axes[0].get_title() == "minilm: 2 vectors for 3 tags" and axes[1].get_title() == "e5: 3 vectors for 3 tags"
    assert sorted(axes[0].lines[0].get_xydata().tolist()) == [[0, 1], [1, 0]] and not axes[1].lines
    assert [ax.get_xlabel() for ax in axes[0].figure.axes[2:]] == ["cosine"] * 2, "a scale of colours each"
    assert axes[0].images[0].get_clim() == pytest.approx((0.2, 1)) and axes[1].images[0].get_clim() == (0, 1)


def test_three_poolings_and_the_mistake_below_a_padded_text():
    tokens, mask = [["[CLS]", "alien", "[SEP]", "[PAD]"]], np.array([[1, 1, 1, 0]])
    ax = pictures.padded_batch(tokens, mask, np.array([[1.0, 2.0, 6.0, -5.0]]))
    assert texts(ax)[-4:] == ["first 1.00", "last 6.00", "mean of tokens 3.00", "mean with padding 1.00"]
    assert [line.get_xdata()[-1] for line in ax.lines] == pytest.approx([2.94, 3.94]), "a bracket for either mean"
    assert len(set(colours(ax))) == 4 and {"alien", "[PAD]", "2.00"} <= set(texts(ax))


def test_widths_are_ticks():
    ax = pictures.widths({"masked": {8: 0.3, 64: 0.3}, "naive": {8: 0.5, 64: 0.8}}, "cosine")
    assert [label.get_text() for label in ax.get_xticklabels()] == ["8", "64"]
    assert ax.lines[1].get_ydata().tolist() == [0.5, 0.8]


def test_heads_have_tokens_on_both_sides_and_large_shares_written():
    ax = pictures.heads({"layer 1": (["it", "is"], np.array([[0.9, 0.1], [0.5, 0.5]]))})[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["it", "is"] and texts(ax) == [".9", ".5", ".5"]
    assert ax.images[0].get_array()[0, 0] == 0.9


def test_bars_are_written():
    ax = pictures.bars({"slow": 200.0, "fast": 2.0}, "ms")
    assert texts(ax) == ["200 ms", "2 ms"] and ax.get_xscale() == "log"
    assert [patch.get_width() for patch in ax.patches] == [200, 2]


def test_waste_is_less_when_sorted():
    left, right = pictures.waste([1, 9, 1, 9], size=2)
    assert left.get_title() == "as they come: 44% padding" and right.get_title() == "sorted by length: 0% padding"


def test_the_way_of_a_text_has_an_arrow_between_boxes():
    ax = pictures.way_of_a_text([("a film", "Alien"), ("tokens", "[CLS]"), ("mean", "+0.1")])
    assert texts(ax) == ["a film", "Alien", "tokens", "[CLS]", "mean", "+0.1"] and len(ax.patches) == 5
