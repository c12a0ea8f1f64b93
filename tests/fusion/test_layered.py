"""A model with each of the layers: one score per pair however it is asked, taken apart, trained, saved and read."""

import numpy as np
import pytest
import torch
from test_dot import ALONE, ITEMS, NEW_ITEM, NEW_USER, USERS, WIDTH, catalogue, everything

import klm_utils as klm
from klm_utils.fusion import BASE, FUSIONS, LAYERS


@pytest.fixture(params=LAYERS)
def fusion(request):
    """Every parameter is large enough to matter, in float64, outside of training."""
    made = FUSIONS[request.param](catalogue(), width=WIDTH, hidden=8).double().eval()
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw, dtype=torch.float64))
    return made


def test_the_grid_holds_the_scores_of_the_pairs(fusion):
    with torch.no_grad():
        pairs = fusion(*everything()).reshape(USERS, ITEMS)
        assert torch.allclose(fusion.grid(torch.arange(USERS), torch.arange(ITEMS)), pairs)
    assert pairs.isfinite().all()


def test_a_grid_in_chunks_has_one_dropout(fusion, monkeypatch):
    monkeypatch.setattr(type(fusion), "pairs_at_once", 4)
    fusion.id_dropout = fusion.user_dropout = 0.5
    fusion.train()
    with torch.no_grad():
        pairs = fusion(*everything(), None, torch.Generator().manual_seed(0)).reshape(USERS, ITEMS)
        grid = fusion.grid(torch.arange(USERS), torch.arange(ITEMS), None, torch.Generator().manual_seed(0))
        assert not torch.allclose(fusion.eval().grid(torch.arange(USERS), torch.arange(ITEMS)), grid)
    assert torch.allclose(grid, pairs)


def test_the_parts_sum_to_the_score(fusion):
    items = torch.arange(ITEMS)
    for user in range(USERS):
        parts = fusion.parts(user, items)
        with torch.no_grad():
            score = fusion(torch.full((ITEMS,), user), items)
        assert torch.allclose(sum(parts.values()), score)
    other = fusion.parts(0, items, history=torch.tensor([3, 4]))
    assert {key for key in other if isinstance(key, int)} == {3, 4} and BASE in other


def test_a_target_is_no_past_of_itself(fusion):
    """User 4 has one item in the history: for it, and only for it, the history is empty."""
    own = int(fusion.past_rows[ALONE][0])
    with torch.no_grad():
        before = fusion(torch.full((ITEMS,), ALONE), torch.arange(ITEMS))
        fusion.history[own] += 1
        moved = fusion(torch.full((ITEMS,), ALONE), torch.arange(ITEMS)) - before
    assert moved[own] == 0 and (moved.abs() > 1e-9).sum() == ITEMS - 1


def test_who_is_new_has_no_id_vector(fusion):
    users, items = everything()
    with torch.no_grad():
        before = fusion(users, items)
        fusion.user_ids[NEW_USER] += 5
        fusion.item_ids[NEW_ITEM] += 5
        assert torch.equal(fusion(users, items), before)
        fusion.item_ids[0] += 5
        assert not torch.equal(fusion(users, items), before)


def test_the_last_items_are_kept_in_order_of_time():
    pairs = [(0, item) for item in (5, 3, 8, 1, 7)] + [(1, 2)]
    made = FUSIONS["target"](catalogue(pairs=pairs), width=WIDTH, past=3)
    assert made.past_rows[:2].tolist() == [[8, 1, 7], [2, -1, -1]]


def test_recent_items_weigh_more():
    pairs = [(0, item) for item in (5, 3, 8)] + [(1, 2)]
    made = FUSIONS["hadamard"](catalogue(pairs=pairs), width=WIDTH, recency=0.5)
    assert made._weights(made.past_rows[:3] >= 0).tolist() == [[0.25, 0.5, 1], [1, 0, 0], [0, 0, 0]]
    x = made._inputs(torch.tensor([0]), torch.tensor([1]), None, (None, None))[0]
    want = (made.history[5] / 4 + made.history[3] / 2 + made.history[8] * made.known_items[8]) / 1.75
    assert torch.allclose(x.past_mean[0], want)


def test_the_target_is_taken_out_before_the_others_are_weighed():
    """A row of train (the target was chosen last) and a new item meet the same weights."""
    pairs = [(0, item) for item in (5, 3, 8)]
    made = FUSIONS["target"](catalogue(pairs=pairs), width=WIDTH, recency=0.5)
    x = made._inputs(torch.tensor([0, 0]), torch.tensor([8, 1]), None, (None, None))[0]
    assert x.past_mask.tolist() == [[0.5, 1, 0], [0.25, 0.5, 1]]


def test_without_a_past_the_history_has_no_influence():
    made = FUSIONS["target"](catalogue(), width=WIDTH, past=0).eval()
    assert made.past_rows.tolist() == [[-1]] * USERS
    with torch.no_grad():
        before = made(*everything())
        made.history.add_(5)
        assert torch.equal(made(*everything()), before)
    parts = made.parts(0, torch.arange(ITEMS), history=torch.tensor([3, 4]))
    assert not [key for key in parts if isinstance(key, int)]


def test_the_own_history_given_is_the_own_history():
    pairs = [(0, item) for item in (5, 3, 8, 1, 7)]
    made = FUSIONS["target"](catalogue(pairs=pairs), width=WIDTH, past=3, recency=0.5)
    own, items = made.parts(0, torch.arange(ITEMS)), torch.arange(ITEMS)
    given = made.parts(0, items, history=torch.tensor([5, 3, 8, 1, 7]))
    assert own.keys() == given.keys() and all(torch.allclose(own[key], given[key]) for key in own)


@pytest.mark.parametrize("past", [-1, None, 0.0, "", False])
def test_a_past_without_meaning(past):
    with pytest.raises(klm.errors.ConfigError, match="past must be a whole number of at least 0"):
        FUSIONS["hadamard"](catalogue(), past=past)


def test_pairs_are_scored_by_pairs_and_products_as_a_matrix():
    assert FUSIONS["dot"](catalogue()).full_matrix and not FUSIONS["hadamard"](catalogue()).full_matrix


@pytest.mark.parametrize("recency", [0, 1.5, True, "1", None])
def test_a_recency_without_meaning(recency):
    with pytest.raises(klm.errors.ConfigError, match="recency"):
        FUSIONS["hadamard"](catalogue(), recency=recency)


def test_seeds_decide_the_start_and_the_global_generator_is_left_alone():
    state = torch.get_rng_state()
    a, b, c = (FUSIONS["gate"](catalogue(), width=WIDTH, seed=seed).layer.gate.weight for seed in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c) and torch.equal(state, torch.get_rng_state())


@pytest.fixture(scope="module")
def shop_split():
    return klm.split(klm.load_dataset("shop"), "random")


@pytest.mark.parametrize("name", LAYERS)
def test_it_trains_saves_and_comes_back(name, shop_split, tmp_path):
    model = klm.KLMRecommender.from_split(shop_split, fusion=name)
    klm.fit(model, shop_split, klm.TrainConfig(objective="label", epochs=1))
    model.save_pretrained(tmp_path)
    again = klm.KLMRecommender.from_pretrained(tmp_path)
    users, items = shop_split.test["user_id"][:500], shop_split.test["item_id"][:500]
    assert np.array_equal(model.predict(users, items), again.predict(users, items))
    assert klm.metrics.auc(shop_split.test["label"][:500], model.predict(users, items)) > 0.55
    top = again.recommend(1, k=3)
    assert len(top) == 3 and top["because"].str.len().gt(0).all()
