"""Sampled negatives with the log-q correction: the loss of all pairs, from a few of them."""

import numpy as np
import pytest
import torch
from worlds import INTERACTION

import klm_utils as klm
from klm_utils.training import objectives


def at_the_shares(split):
    """A fusion that knows nothing but how often each item was chosen, and users and items as the loop has them."""
    fusion = klm.KLMRecommender.from_split(split, fusion="hadamard", width=4).fusion
    users, items = fusion.known_users[:, 0].nonzero()[:, 0], fusion.known_items[:, 0].nonzero()[:, 0]
    share = fusion.met(users[:, None], items[None, :]).float().mean(0)
    with torch.no_grad():
        for parameter in (*fusion.parameters(),):
            parameter.zero_()
        fusion.item_bias[items, 0] = torch.logit(share)
    return fusion, users, items


def mean_gradient(fusion, loss, items, draws=60):
    found = []
    for seed in range(draws):
        fusion.zero_grad()
        loss(torch.arange(len(items)), torch.Generator().manual_seed(seed)).backward()
        found.append(fusion.item_bias.grad[items, 0].clone())
    return torch.stack(found)


def test_the_true_shares_are_where_the_sampled_loss_is_least(split, monkeypatch):
    fusion, users, items = at_the_shares(split)
    found = mean_gradient(fusion, objectives._sampled_pairs(fusion, users, items), items)
    noise = found.std(0) / len(found) ** 0.5
    assert ((found.mean(0) / noise).abs() < 4).all(), "zero but for chance, for each item"

    uncorrected = torch.Tensor.log
    monkeypatch.setattr(torch.Tensor, "log", lambda x: 0 * x)
    wrong = mean_gradient(fusion, objectives._sampled_pairs(fusion, users, items), items)
    monkeypatch.setattr(torch.Tensor, "log", uncorrected)
    assert ((wrong.mean(0) / noise).abs() > 4).float().mean() > 0.9, "without log q it is elsewhere"


def test_what_was_chosen_is_never_a_negative(split):
    fusion, users, items = at_the_shares(split)
    seen = []

    def spy(who, of, draw):
        seen.append((who, of))
        return torch.zeros(len(who), requires_grad=True)

    spy.pairs, spy.known_users, spy.known_items, spy.met = (
        fusion.pairs, fusion.known_users, fusion.known_items, lambda u, i: torch.ones_like(u, dtype=torch.bool)
    )  # fmt: skip
    value = objectives._sampled_pairs(spy, users, items)(torch.arange(len(items)), torch.Generator().manual_seed(0))
    n = len(fusion.pairs)
    assert len(seen[0][0]) == n + objectives.NEGATIVES * n
    rate = objectives.NEGATIVES * torch.bincount(seen[0][1][:n])[seen[0][1][:n]].float() / len(users)
    assert torch.allclose(value, torch.nn.functional.softplus(rate.log()).mean()), "only the choices are left"


@pytest.mark.parametrize("name", ["concat", "target"])
def test_a_layer_learns_what_is_chosen_and_how_often(split, name):
    model = klm.KLMRecommender.from_split(split, fusion=name)
    history = klm.fit(model, split, klm.TrainConfig(**INTERACTION | {"epochs": 15}))
    again = klm.KLMRecommender.from_split(split, fusion=name)
    assert (
        klm.fit(again, split, klm.TrainConfig(**INTERACTION | {"epochs": 15}))
        .epochs["loss"]
        .equals(history.epochs["loss"])
    ), "seeded"
    p = model.predict_grid(split.dataset.users.index, split.dataset.items.index)
    density = len(model.fusion.pairs) / p.size
    assert p.mean() == pytest.approx(density, rel=0.25), "a probability, not only an order"
    counts = split.train["item_id"].value_counts().reindex(split.dataset.items.index, fill_value=0)
    assert np.corrcoef(p.mean(0), counts)[0, 1] > 0.5


@pytest.mark.parametrize(("name", "calls"), [("dot", 0), ("gate", 1)])
def test_layers_learn_from_samples_and_dot_from_all_pairs(split, monkeypatch, name, calls):
    made, sampled = [], objectives._sampled_pairs
    monkeypatch.setattr(objectives, "_sampled_pairs", lambda *args: made.append(1) or sampled(*args))
    model = klm.KLMRecommender.from_split(split, fusion=name)
    klm.fit(model, split, klm.TrainConfig(**INTERACTION | {"epochs": 1}))
    assert len(made) == calls
