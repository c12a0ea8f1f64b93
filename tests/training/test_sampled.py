"""Sampled negatives with the log-q correction: the loss of all pairs, from a few of them."""

import numpy as np
import pytest
import torch
from worlds import INTERACTION

import klm_utils as klm
from klm_utils.training import objectives


def at_the_shares(split):
    """A task, and its model, which knows nothing but how often each item was chosen."""
    model = klm.KLMRecommender.from_split(split, fusion="hadamard", width=4)
    task = objectives.task(model, split, klm.TrainConfig("interaction").of("frozen"))
    share = model.fusion.met(task.people[:, None], task.known[None, :]).float().mean(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.fusion.item_bias[task.known, 0] = torch.logit(share)
    return model, task


def mean_gradient(model, task, draws=60):
    found = []
    for seed in range(draws):
        model.zero_grad()
        task.loss(torch.arange(task.n), None, torch.Generator().manual_seed(seed)).backward()
        found.append(model.fusion.item_bias.grad[task.known, 0].clone())
    return torch.stack(found)


def test_the_true_shares_are_where_the_sampled_loss_is_least(split, monkeypatch):
    model, task = at_the_shares(split)
    found = mean_gradient(model, task)
    noise = found.std(0) / len(found) ** 0.5
    assert ((found.mean(0) / noise).abs() < 4).all(), "zero but for chance, for each item"

    monkeypatch.setattr(torch.Tensor, "log", lambda x: 0 * x)
    wrong = mean_gradient(model, task)
    assert ((wrong.mean(0) / noise).abs() > 4).float().mean() > 0.9, "without log q it is elsewhere"


def test_what_was_chosen_is_never_a_negative(split, monkeypatch):
    model, task = at_the_shares(split)
    size = torch.bincount(model.fusion.pairs % len(model.items))
    with torch.no_grad():
        model.fusion.item_bias.zero_()
    monkeypatch.setattr(model.fusion, "met", lambda u, i: torch.ones_like(u, dtype=torch.bool))
    value = task.loss(torch.arange(task.n), None, torch.Generator().manual_seed(0))
    rate = (task.config.negatives * size.float() / len(task.people)).repeat_interleave(size)
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


@pytest.mark.parametrize(("name", "samples"), [("dot", False), ("gate", True)])
def test_layers_learn_from_samples_and_dot_from_all_pairs(split, name, samples):
    model = klm.KLMRecommender.from_split(split, fusion=name)
    values = []
    for negatives in (4, 40):
        task = objectives.task(model, split, klm.TrainConfig("interaction", negatives=negatives).of("frozen"))
        draws = [torch.Generator().manual_seed(seed) for seed in range(20)]
        values.append([task.loss(torch.arange(task.n), None, draw).item() for draw in draws])
    few, many = np.std(values, axis=1)
    assert (few > many > 0) if samples else (few == many == 0)
