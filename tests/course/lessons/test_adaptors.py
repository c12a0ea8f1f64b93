"""The mixture of experts: the gate, one expert, the gradient, and what it may not see."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from worlds import planted

import klm_utils as klm
from klm_utils.course.lessons.adaptors import ExpertAdaptor, adapted


def drawn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def moved(experts):
    model = ExpertAdaptor(5, 3, experts).double()
    with torch.no_grad():
        model.gate += drawn(5, experts, seed=1)
        model.shift += drawn(experts, 5, seed=2)
    return model


def test_the_gate_sums_to_one_and_starts_even():
    assert torch.allclose(moved(4).weights(drawn(7, 5)).sum(1), torch.ones(7).double())
    assert torch.allclose(ExpertAdaptor(5, 3, 4).weights(torch.randn(7, 5)), torch.tensor(0.25))


def test_one_expert_is_a_linear_map():
    model, x = moved(1), drawn(7, 5)
    torch.testing.assert_close(model(x), x @ model.matrix[0] - model.shift[0] @ model.matrix[0])


def test_several_experts_are_their_mean_by_the_gate():
    model, x = moved(2), drawn(1, 5)
    first, second = ((x[0] - b) @ W for b, W in zip(model.shift, model.matrix, strict=True))
    g = (x[0] @ model.gate).softmax(0)
    torch.testing.assert_close(model(x)[0], g[0] * first + g[1] * second)


@pytest.mark.parametrize("name", ["matrix", "shift", "gate"])
def test_the_gradient(name):
    model, x, weight = moved(3), drawn(4, 5), drawn(4, 3, seed=3)

    def f(value):
        return (torch.func.functional_call(model, {name: value}, (x,)) * weight).sum() / 10

    assert klm.gradients.compare(f, {}, getattr(model, name).detach()).ok


@pytest.fixture(scope="module")
def world():
    ds = replace(planted(), chosen_by="label")  # what is liked, which the trait decides
    trait = np.array([1.0 if tags == ["plus"] else -1.0 for tags in ds.items["tags"]])
    X = np.random.default_rng(0).normal(size=(len(ds.items), 6))
    X[:, 0] = trait  # one of six directions matters
    return klm.split(ds, "cold_item"), X, trait


def test_items_of_one_trait_come_near_and_the_control_does_not(world):
    split, X, trait = world
    cold = ~split.dataset.items.index.isin(split.train["item_id"])

    def apart(vectors):
        vectors = vectors - vectors[~cold].mean(0)
        z = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        cosine, alike = z[cold] @ z[~cold].T, trait[cold][:, None] == trait[~cold]
        return cosine[alike].mean() - cosine[~alike].mean()

    found = adapted(X, split, steps=100, lr=0.01, width=4)
    assert found.dtype == np.float32 and found.shape == (len(X), 4)
    other = X[np.random.default_rng(1).permutation(len(X))]
    assert apart(found) > apart(X) + 0.1 and apart(found) > apart(adapted(other, split, lr=0.01, width=4)) + 0.1
    assert np.array_equal(found, adapted(X, split, steps=100, lr=0.01, width=4))


def test_test_is_not_seen(world):
    split, X, _ = world
    unseen = replace(split, test=split.test.assign(label=1 - split.test["label"]))
    assert np.array_equal(adapted(X, split, steps=3), adapted(X, unseen, steps=3))


def test_no_vectors_or_setting(world):
    split, X, _ = world
    for wrong in ((X[1:], split), (X, None)):
        with pytest.raises(klm.KLMError):
            adapted(*wrong)
    for options in ({"steps": 0}, {"lr": 0}, {"experts": 0}, {"seed": -1}, {"width": 1.5}):
        with pytest.raises(klm.KLMError):
            adapted(X, split, **options)
