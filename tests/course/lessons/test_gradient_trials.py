"""What the derivation of notebook 04 rests on: proofs that can fail, and gradients that agree."""

from types import SimpleNamespace

import numpy as np
import pytest
import sympy as sp
import torch

import klm_utils as klm
from klm_utils import losses
from klm_utils.course.exercises import ch04
from klm_utils.course.lessons import gradient_trials as lesson
from klm_utils.data import shop
from klm_utils.gradients import backward, compare


def test_a_line_is_proved_or_wrong_and_has_a_value_here(capsys):
    z, y = sp.symbols("z y", real=True)
    lesson.proved("half", z / 2 + z / 2, z, {z: 3})
    lesson.proved("other", z, y, {z: 3, y: 1})
    lesson.proved("open", z, y, {z: 3})
    out = capsys.readouterr().out.splitlines()
    assert out[0].endswith("proved; here it is 3") and "WRONG" in out[1]
    assert "not proved" in out[2], "no point shows that the sides differ"


def test_cosines_are_those_of_the_centred_vectors():
    table = {"a": [2.0, 0.0], "b": [1.0, 1.0], "c": [0.0, -1.0]}
    encoder = SimpleNamespace(encode=lambda texts: np.array([table[text] for text in texts]))
    assert lesson.cosines(encoder, "a", ["b"], ["a", "b", "c"]) == pytest.approx([0.0])  # (1, 0) and (0, 1)


def test_the_numbers_of_the_pencil_are_what_the_language_model_says():
    things = shop.resimulated(0)
    tags = sorted({tag for tags in things.items["tags"] for tag in tags})
    near = lesson.cosines(klm.TextEncoder.from_pretrained("e5"), "小米手机", ["篮球", "电影", "科技"], tags)
    assert [round(value, 2) for value in near] == list(lesson.BOUGHT.values())[:3]


def test_differences_are_best_near_the_step_of_compare():
    errors = lesson.difference_errors()
    assert 1e-6 < errors["float64"].idxmin() < 1e-4 and errors["float64"].min() < 1e-9
    assert errors["float32"].min() > 1e-7 and errors["float32"].iloc[0] == 1.0, "nothing is left of the smallest step"


def test_the_printed_form_is_lost_where_the_stable_one_is_not():
    ways = {"printed": lesson.as_printed, "kinks": lesson.with_kinks, "stable": ch04.stable_bce}
    found = lesson.in_precisions(ways)
    stable, printed = found[found["way"] == "stable"], found[found["way"] == "printed"]
    assert len(stable) == 15 and np.isfinite(stable[["loss", "slope"]]).all(axis=None)
    assert stable["loss"].to_numpy() == pytest.approx(stable["true"].to_numpy(), rel=1e-2)
    lost = printed[~np.isfinite(printed["loss"])]
    assert len(lost[lost["precision"] == "float16"]) == 4 and len(lost[lost["precision"] == "float32"]) == 3
    assert stable["slope"].to_numpy() == pytest.approx(stable["true_slope"].to_numpy(), abs=1e-2)
    kinks = found[found["way"] == "kinks"]
    assert kinks["loss"].tolist() == stable["loss"].tolist(), "the value is right everywhere"
    off = kinks[kinks["slope"] != stable["slope"].to_numpy()]
    assert off["place"].tolist() == 3 * ["z = 0, y = 1"] and off["slope"].tolist() == [0, 0, 0]


def test_the_tiny_recommender_has_the_gradients_that_are_written_by_hand():
    tiny = lesson.tiny_recommender(0)
    stops = tiny.forward()
    stops["loss"].backward()
    with torch.no_grad():
        loss, grads = backward.recommender(tiny.params, tiny.ids, tiny.mask, tiny.items, tiny.users, tiny.y, tiny.heads)
    assert loss.item() == pytest.approx(stops["loss"].item())
    assert max((grads[name] - value.grad).abs().max().item() for name, value in tiny.params.items()) < 1e-13
    assert tiny.words[1] == ["the", "godfather", "crime", "drama"] and tiny.mask.sum(1).tolist() == [4, 4, 5, 3, 4, 4]
    found = lesson.one_row(stops, 1, {stop: stop for stop in stops})
    row = {name: (value, slope) for name, value, slope in found}
    assert row["z"][1] == pytest.approx((row["p"][0] - 0) / 6) and row["loss"] == (stops["loss"].item(), 1.0)
    assert row["BERT"][1] == pytest.approx(row["mean"][1] / 4), "a quarter for each of four words"
    assert (stops["word"].grad[tiny.mask == 0] == 0).all()


def test_every_loss_agrees_three_ways():
    cases = lesson.loss_cases(0)
    assert len(cases) == 8 and all(compare(f, grad, *given).ok for f, grad, given in cases.values())


def test_one_output_is_squared_error_and_a_constant_label_teaches_nothing():
    found = lesson.one_output(0)
    assert found["the classifier's loss"] == pytest.approx(found["squared error"]) != pytest.approx(found["BCE"])
    ones = lesson.new_head(True, 0.2, seed=0, steps=60, times=5)
    assert (
        ones["bias"] > 1
        and ones["loss after"] < 0.1 < ones["loss before"]
        and ones["least AUC"] <= ones["AUC"] <= ones["largest AUC"]
    )
    assert lesson.new_head(False, 2e-5, seed=0, steps=50, times=2)["largest move"] < 50 * 2e-5 * 1.1


@pytest.mark.parametrize(("start", "arrives"), [((0.0, 0.0), False), ((1.0, -1.0), False), ((0.1, -0.05), True)])
def test_a_descent_arrives_or_is_stuck(start, arrives):
    path = lesson.descend(start)
    assert path.shape == (301, 2) and tuple(path[0]) == start
    assert (abs(path[-1].prod() - np.log(4)) < 0.01) == arrives


def test_the_descent_goes_along_the_gradient_of_the_loss():
    a, b = 0.5, -0.3
    step = lesson.descend((a, b), steps=1, rate=0.1)[1]
    p = 1 / (1 + np.exp(-a * b))
    assert step == pytest.approx([a - 0.1 * (p - 0.8) * b, b - 0.1 * (p - 0.8) * a])
    assert losses.bce_with_logits(torch.tensor([a * b]), torch.tensor([0.8])).item() > 0


def test_buyers_are_the_same_for_a_seed():
    x, w, y = lesson.buyers(0)
    assert x.shape == (40, 5) and w.shape == (5,) and set(y.tolist()) == {0.0, 1.0}
    assert torch.equal(lesson.buyers(0)[0], x) and not torch.equal(lesson.buyers(1)[0], x)
