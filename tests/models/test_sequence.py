"""A sequence model sees the past only, as far as it is there, and its attention has the gradient written by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from klm_utils.errors import ConfigError, DataError
from klm_utils.gradients import backward, compare
from klm_utils.models.next_item import Markov, NextEASE, Popular
from klm_utils.models.sequence import Attention, SASRec

ITEMS = np.arange(12) + 101


@pytest.fixture(scope="module")
def model():
    return SASRec(ITEMS, width=8, heads=2, blocks=2, length=6, seed=3).double()


def states(model, rows):
    return model(torch.tensor(rows), model.table())


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 11), min_size=6, max_size=6), st.integers(1, 5), st.integers(0, 11))
def test_a_later_item_changes_no_earlier_score(model, past, place, other):
    changed = [*past[:place], other, *past[place + 1 :]]
    before, after = states(model, [past]), states(model, [changed])
    assert torch.equal(before[:, :place], after[:, :place])
    assert other == past[place] or not torch.equal(before[:, place], after[:, place])


@pytest.mark.parametrize("padding", [1, 3])
def test_padding_changes_nothing(model, padding):
    past = [4, 7, 1]
    alone, padded = states(model, [past]), states(model, [[-1] * padding + past])
    torch.testing.assert_close(padded[:, padding:], alone, rtol=0, atol=1e-12)
    assert torch.isfinite(padded).all()


def test_the_order_of_the_past_matters(model):
    assert not torch.allclose(states(model, [[1, 2, 3]])[:, -1], states(model, [[2, 1, 3]])[:, -1])


def test_attention_has_the_gradient_that_is_written_by_hand():
    torch.manual_seed(0)
    attention, x = Attention(6, 2).double(), torch.randn(2, 4, 6).double()
    seen = torch.ones(4, 4).tril().bool().expand(2, 4, 4).clone()
    seen[1, :, 0] = False
    seen[1, 0, 0] = True
    out = torch.randn(2, 4, 6).double()
    weights = {name: p.detach() for name, p in attention.named_parameters()}
    grads = backward.Grads()
    y, back = backward.attention(x, seen, {f"a.{name}": weight for name, weight in weights.items()}, "a", 2, grads)
    torch.testing.assert_close(y, attention(x, seen))
    found = compare(lambda x: (attention(x, seen) * out).mean(), back(out) / out.numel(), x)
    assert found.ok, found
    assert grads["a.key.bias"].abs().max() < 1e-14, "the same to all scores of a place: softmax does not feel it"
    for name in weights.keys() - {"key.bias"}:

        def loss(weight, name=name):
            return (torch.func.functional_call(attention, {name: weight}, (x, seen)) * out).mean()

        assert compare(loss, grads[f"a.{name}"] / out.numel(), weights[name]).ok, name


def test_probabilities_of_all_items_and_of_an_empty_history_too():
    model = SASRec(ITEMS, width=8, length=4)
    p = model.predict([[101, 105], [], [103] * 9])
    assert p.shape == (3, 12) and p.sum(1) == pytest.approx(1.0)
    assert p[1] == pytest.approx(1 / 12), "its bias is 0 before training"
    assert model.predict([[101, 105]])[0] == pytest.approx(p[0], abs=1e-7), "in whatever batch"


def test_vectors_alone_make_equal_items_equal():
    vectors = np.eye(12)[:, :4] + 0.0
    model = SASRec(ITEMS, width=8, vectors=vectors, ids=False)
    p = model.predict([[101, 102]])[0]
    assert p[4:] == pytest.approx(p[4]), "nothing is known of them"
    assert "free" not in dict(model.named_parameters())


def test_it_starts_where_it_is_told():
    start = np.random.default_rng(0).normal(size=(12, 8))
    assert SASRec(ITEMS, width=8, start=start).table().detach().numpy() == pytest.approx(start, abs=1e-6)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"width": 9}, "cannot share"),
        ({"ids": False}, "has no vector"),
        ({"vectors": np.zeros((11, 3))}, "one vector per item"),
        ({"start": np.zeros((12, 5))}, "not as wide"),
        ({"dropout": 1.0}, "no meaning"),
        ({"length": 0}, "whole number"),
    ],
)
def test_settings_without_meaning_are_refused(wrong, says):
    with pytest.raises((ConfigError, DataError), match=says):
        SASRec(ITEMS, **wrong)


def test_an_item_that_nobody_knows_is_named(model):
    with pytest.raises(DataError, match="not in the data set"):
        model.predict([[101, 999]])


def test_a_table_of_followers():
    table = Markov(ITEMS, a=2.0).fit([[101, 102, 103], [101, 102], [104, 102]])
    p = table.predict([[104, 101], [110]])
    share = np.array([2, 3, 1, 1] + [0] * 8) / 7
    assert p[0] == pytest.approx((np.eye(12)[1] * 2 + 2 * share) / 4) and p[1] == pytest.approx(share)
    assert Popular(ITEMS).fit([[101, 101]]).predict([[102]])[0, 0] == 1


def test_ease_is_that_of_the_baseline(small):
    import klm_utils as klm

    split = klm.split(small, "random")
    other = klm.baselines.EASE((100.0,)).fit(split)
    chosen = small.chosen(split.train)
    users = split.train["user_id"].unique()[:5]
    past = [chosen.loc[chosen["user_id"] == user, "item_id"].tolist() for user in users]
    everyone = chosen.groupby("user_id")["item_id"].agg(list).tolist()
    scores = NextEASE(small.items.index, reg=100.0).fit(everyone).predict(past)
    order = [np.argsort(-other.predict([user] * len(small.items), small.items.index)) for user in users]
    assert [np.argsort(-row)[:5].tolist() for row in scores] == [row[:5].tolist() for row in order]
