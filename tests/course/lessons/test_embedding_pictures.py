"""The drawings of notebook 02 show the tokens, films and numbers that they were given."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from klm_utils.course.lessons import embedding_pictures as pictures


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def texts(ax):
    return [text.get_text() for text in ax.texts]


def colours(ax):
    return [patch.get_facecolor() for patch in ax.patches]


def test_history_and_list_have_weights_cosines_and_the_colour_of_what_came():
    ranked = [("Heat", 0.2, 1), ("Cash $$$", 0.1, 0)]
    ax = pictures.history_and_list([("Alien", 0.31), ("Evita", -0.69)], ranked, "user 7 rated")
    assert {"user 7 rated", "Alien", "+0.31", "Evita", "-0.69", "Heat", "+0.20", "Cash $$$", "cosine"} <= set(texts(ax))
    liked, not_liked, hit, miss = colours(ax)[:4]
    assert liked == hit != not_liked == miss
    ax.figure.canvas.draw()


def test_worth_has_a_dot_per_fold_an_interval_and_a_band_for_each_row():
    films, goods = {"e5": [0.6, 0.62], "genres": [0.57, 0.58]}, {"e5, zh": (0.63, 0.61, 0.65)}
    bands = {"e5": [0.49, 0.51], "genres": [0.5, 0.52]}, {"e5, zh": [0.47, 0.5, 0.53]}
    left, right = pictures.worth(films, goods, bands)
    assert left.lines[0].get_xdata().tolist() == [0.6, 0.62] and left.lines[1].get_xdata()[0] == pytest.approx(0.61)
    assert right.lines[0].get_xdata().tolist() == [0.61, 0.65] and texts(right) == ["0.630"]
    boxes = [
        (p.get_x(), p.get_x() + p.get_width(), p.get_y() + p.get_height() / 2)
        for ax in (left, right)
        for p in ax.patches
    ]
    assert boxes == [pytest.approx(box) for box in ((0.49, 0.51, 0), (0.5, 0.52, 1), (0.47, 0.53, 0))]
    assert left.get_ylim()[0] > left.get_ylim()[1], "the first on top"


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
    assert axes[0].figure.axes[-1].get_ylabel() == "cosine", "a scale of colours"


def test_three_poolings_and_the_mistake_below_a_padded_text():
    tokens, mask = [["[CLS]", "alien", "[SEP]", "[PAD]"]], np.array([[1, 1, 1, 0]])
    ax = pictures.padded_batch(tokens, mask, np.array([[1.0, 2.0, 6.0, -5.0]]))
    assert texts(ax)[-4:] == ["CLS 1.00", "last 6.00", "mean of tokens 3.00", "mean with padding 1.00"]
    assert len(set(colours(ax))) == 4 and {"alien", "[PAD]", "2.00"} <= set(texts(ax))


def test_widths_are_ticks():
    ax = pictures.widths({"masked": {8: 0.3, 64: 0.3}, "naive": {8: 0.5, 64: 0.8}}, "cosine")
    assert [label.get_text() for label in ax.get_xticklabels()] == ["8", "64"]
    assert ax.lines[1].get_ydata().tolist() == [0.5, 0.8]


def narrow(n=30, width=8):
    x = np.random.default_rng(0).normal(size=(n, width)) * 0.2
    x[:, 0] += 1
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_a_cone_points_upwards_and_opens_when_centred():
    x = narrow()
    c = x - x.mean(0)
    left, right = pictures.cone(x, c / np.linalg.norm(c, axis=1, keepdims=True), ["篮球", "茶"])
    ends = [line.get_xydata()[1] for line in left.lines]
    assert min(y for _, y in ends) > 0.5 and min(y for _, y in [line.get_xydata()[1] for line in right.lines]) < 0
    assert sorted(texts(left)) == sorted(texts(right)) == ["篮球", "茶"]
    angles = [float(ax.get_title().split(": ")[1].split("°")[0]) for ax in (left, right)]
    assert angles[0] < 60 < 85 < angles[1]


def test_two_users_have_their_first_choices_named_and_their_correlation():
    x = np.array([0.1, 0.2, 0.3])
    ax = pictures.two_users({"raw": (x, x[::-1])}, ["Anna", "Ben"], ["a", "b", "c"])[0]
    assert texts(ax) == ["c", "a"] and "correlation -1.00" in ax.get_title()
    assert ax.get_xlabel() == "cosine to Anna" and ax.get_ylabel() == "cosine to Ben"


def test_neighbours_stand_below_their_model_darker_where_nearer():
    ax = pictures.side_by_side("Alien", {"minilm": [("Aliens", 0.9), ("E.T.", 0.3)], "letters": [("Malice", 0.7)]})
    assert {"minilm", "letters", "Aliens", "0.90", "E.T.", "Malice"} <= set(texts(ax))
    near, far = (sum(colour[:3]) for colour in colours(ax)[:2])
    assert near < far and "Alien" in ax.get_title(loc="left")


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


def test_the_way_of_a_text_has_an_arrow_between_boxes():
    ax = pictures.way_of_a_text([("a film", "Alien"), ("tokens", "[CLS]"), ("mean", "+0.1")])
    assert texts(ax) == ["a film", "Alien", "tokens", "[CLS]", "mean", "+0.1"] and len(ax.patches) == 5
