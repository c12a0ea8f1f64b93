"""The pictures of what comes next show what they say."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

import klm_utils as klm
from klm_utils.course.exercises import ch08
from klm_utils.course.lessons import sequence_pictures as pictures
from klm_utils.course.lessons import sequence_trials as lesson
from klm_utils.evaluation import experiment
from klm_utils.evaluation.next_item import evaluate_next, sequences
from klm_utils.models.next_item import Markov, Popular
from klm_utils.models.sequence import SASRec


def test_lists_stand_beside_the_past_and_the_film_that_came_is_blue():
    ax = pictures.next_lists(["Alien", "$9.99"], {"popularity": ["Fargo", "Heat"], "SASRec": ["Heat", "Jaws"]}, "Heat")
    texts = {text.get_text(): text for text in ax.texts}
    assert {"Alien", "$9.99", "1. Fargo", "2. Heat", "1. Heat", "2. Jaws", "popularity", "SASRec"} <= set(texts)
    blue = {text for text, drawn in texts.items() if to_hex(drawn.get_color()).upper() == pictures.BLUE.upper()}
    assert blue == {"2. Heat", "1. Heat"} and "Heat" in ax.get_title(loc="left")


def test_the_mask_and_the_weights_are_those_given():
    model = SASRec(range(9), width=8, length=6)
    past, mask = [1, 4, 2], ch08.mask(np.ones(3, dtype=bool))
    weights = lesson.attention(model, past)
    assert weights.sum(1) == pytest.approx(1.0) and (weights[~mask] == 0).all()
    right = pictures.mask_and_weights(mask, weights, ["A", "B$", "C" * 40])
    shown = right.images[0].get_array()
    assert shown.mask.tolist() == (~mask).tolist() and shown[mask].data == pytest.approx(weights[mask])
    assert [label.get_text() for label in right.get_xticklabels()][2].endswith("…")


def test_shares_have_their_numbers():
    ax = pictures.shares({"the same second": 0.5, "later": 0.25}, "share")
    assert [text.get_text() for text in ax.texts] == ["50%", "25%"]


def test_a_code_is_drawn_step_by_step():
    books = [np.array([[0.0, 0.0], [4.0, 0.0]]), np.array([[-1.0, 1.0], [3.0, 3.0]])]
    vector = np.array([3.0, 1.0])
    code = ch08.code(vector, books)
    second = pictures.coded(vector, books, code, "Alien")
    first = second.figure.axes[0]
    assert "nearest is 1; left: (-1.0, +1.0)" in first.get_title()
    assert "nearest is 0; left: (+0.0, +0.0)" in second.get_title()
    assert "what was left of Alien" in {text.get_text() for text in second.texts}


def test_both_shares_over_the_number_of_codes():
    curve = pd.DataFrame({"collide": [0.6, 0.2], "reached": [0.63, 0.3]}, index=[16, 32])
    ax = pictures.trade(curve)
    assert [line.get_ydata().tolist() for line in ax.lines] == [[0.6, 0.2], [0.63, 0.3]]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["16", "32"]


def test_who_listens():
    left = pictures.heard({"SASRec": {"own": 0.1, "other": 0.02, "shared": 0.3}})
    assert left.lines[1].get_xdata()[0] == 0.1 and left.lines[2].get_xdata()[0] == 0.02
    assert left.figure.axes[1].texts[0].get_text() == "30%"


def test_labels_that_the_film_has_are_blue():
    ax = pictures.labelled(pd.Series({"Drama": 0.8, "War": 0.2}), ["War"], 0.3)
    colours = [to_hex(bar.get_facecolor()).upper() for bar in ax.patches]
    assert colours[1] == pictures.BLUE.upper() != colours[0]


def test_lines_by_share_leave_out_what_is_not_there():
    ax = pictures.by_share(pd.DataFrame({"films": [0.1, 0.2], "nothing": [np.nan, 0.15]}, index=[0.0, 1.0]))
    assert [line.get_xdata().tolist() for line in ax.lines] == [[0, 1], [1]]


def test_gains_stand_behind_the_names(small):
    split = klm.split(small, "temporal")
    items = small.items.index
    build = {kind.name: lambda split, seed, kind=kind: kind(items).fit(sequences(split)) for kind in (Popular, Markov)}
    runs = experiment.run(build, split, n_boot=20, measure=evaluate_next)
    ax = pictures.gains(runs, "popularity", {"Markov table": "Markov"})
    (label,) = [label.get_text() for label in ax.get_yticklabels()]
    assert label == f"Markov  {runs.gain('Markov table', 'popularity').difference:+.3f}"
