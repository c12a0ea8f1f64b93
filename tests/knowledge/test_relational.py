"""The relation-aware layer: attention, its gradient, films without facts, what it may not see, and the control."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from worlds import planted

import klm_utils as klm
from klm_utils.knowledge import graph
from klm_utils.knowledge.relational import RelationalLayer, nearness, softmax_within, watched_together
from klm_utils.knowledge.transe import TransE


def with_graph(seed=0):
    """The planted world, whose items have a maker of their trait (worth knowing) and a shop drawn at random (not)."""
    ds, rng = planted(), np.random.default_rng(seed)
    facts = [
        fact
        for title, (trait,) in zip(ds.items["title"], ds.items["tags"], strict=True)
        for fact in ((title, "maker", f"{trait} {rng.integers(3)}"), (title, "soldBy", f"shop {rng.integers(6)}"))
    ]
    triples = pd.DataFrame(facts, columns=["head", "relation", "tail"])
    return replace(ds, triples=triples, chosen_by="label")


@pytest.fixture(scope="module")
def world():
    ds = with_graph()
    split = klm.split(ds, "cold_item")
    titles = ds.items.loc[split.train["item_id"].unique(), "title"]
    return split, graph.facts(ds), TransE(ds.triples[ds.triples["head"].isin(titles)], width=8, epochs=200, lr=0.05)


def test_softmax_within_a_film_and_its_gradient_by_hand():
    draw = torch.Generator().manual_seed(0)
    score, weight = (torch.randn(6, dtype=torch.float64, generator=draw) for _ in range(2))
    film = torch.tensor([0, 2, 0, 2, 2, 3])
    pi = softmax_within(score + 1000, film, 5)
    torch.testing.assert_close(torch.zeros(5).double().index_add(0, film, pi), torch.tensor([1.0, 0, 1, 1, 0]).double())
    torch.testing.assert_close(pi[[0, 2]], score[[0, 2]].softmax(0))

    def by_hand(score):
        pi = softmax_within(score, film, 5)
        mean = torch.zeros(5).double().index_add(0, film, pi * weight)
        return pi * (weight - mean[film])

    assert klm.gradients.compare(lambda s: (softmax_within(s, film, 5) * weight).sum(), by_hand, score).ok


def test_the_gradient_of_the_objective_in_the_turns(world):
    split, found, transe = world
    layer, (films, P) = RelationalLayer(transe).double(), watched_together(split)
    edges = layer.edges([found[film] for film in films])

    def loss(turn):
        vectors, _ = torch.func.functional_call(layer, {"turn": turn}, (edges, len(films)))
        return nearness(vectors, P.double())

    start = layer.turn.detach() + 0.3 * torch.randn(layer.turn.shape, generator=torch.Generator().manual_seed(1))
    assert klm.gradients.compare(loss, {}, start).ok


def test_at_equal_attention_it_starts_at_the_places_of_transe(world):
    _, found, transe = world
    layer = RelationalLayer(transe)
    one = [own[:1] for own in found]
    np.testing.assert_allclose(layer.items(one), transe.items(one), atol=1e-6)


def test_attention_sums_to_one_and_unknown_facts_are_nothing(world):
    split, found, transe = world
    layer = RelationalLayer(transe).fit(found, split, steps=5)
    pi = layer.attention([*found[0], ("maker", "Mars"), ("knows", "shop 1")])
    assert sorted(pi.index) == sorted(found[0]) and pi.sum() == pytest.approx(1) and pi.is_monotonic_decreasing
    nobody, strange, alone = layer.items([[], [("maker", "Mars")], found[0]])
    assert not nobody.any() and not strange.any() and layer.attention([]).empty
    np.testing.assert_allclose(alone, layer.items(found)[0], atol=1e-6)


def test_what_test_chose_is_not_seen_and_twice_is_the_same(world):
    split, found, transe = world
    state = torch.get_rng_state()
    vectors = RelationalLayer(transe).fit(found, split, steps=5).items(found)
    assert torch.equal(torch.get_rng_state(), state)
    for part in ("test", "valid"):
        rows = getattr(split, part)
        other = replace(split, **{part: rows.assign(label=1 - rows["label"], user_id=rows["user_id"].to_numpy()[::-1])})
        assert np.array_equal(RelationalLayer(transe).fit(found, other, steps=5).items(found), vectors)
    assert not np.array_equal(RelationalLayer(transe).fit(found, split, steps=5, seed=1).items(found), vectors)


def test_it_learns_which_relation_tells_what_the_same_users_like(world):
    """On items that were never in train; the facts of others say nothing there."""
    split, found, transe = world
    cold = ~split.dataset.items.index.isin(split.train["item_id"])
    plus = np.array([tags == ["plus"] for tags in split.dataset.items["tags"]])

    def apart(vectors):
        """Mean cosine of a cold item and the train items of its trait, less that with the others."""
        vectors = vectors - vectors[~cold].mean(0)
        z = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        cosine, alike = z[cold] @ z[~cold].T, plus[cold][:, None] == plus[~cold]
        return cosine[alike].mean() - cosine[~alike].mean()

    fitted = RelationalLayer(transe).fit(found, split, lr=0.01)
    assert fitted.losses[-1] < fitted.losses[0]
    dealt = graph.shuffled(found)
    control = RelationalLayer(transe).fit(dealt, split, lr=0.01)
    true, start, wrong = apart(fitted.items(found)), apart(transe.items(found)), apart(control.items(dealt))
    assert true > start + 0.1 and true > wrong + 0.2


@pytest.mark.parametrize("options", [{"steps": 0}, {"lr": -1}, {"drop": 1}, {"seed": -1}, {"found": []}])
def test_no_layer_or_setting(world, options):
    split, found, transe = world
    with pytest.raises(klm.KLMError):
        RelationalLayer(transe).fit(**{"found": found, "split": split} | options)
    with pytest.raises(klm.KLMError):
        RelationalLayer(None)
    with pytest.raises(klm.KLMError):
        RelationalLayer(transe).fit(found, None)
