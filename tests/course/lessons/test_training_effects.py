"""What training does to a language model: what moves, in how many directions, and what comes near."""

import numpy as np
import pandas as pd
import pytest
import torch

import klm_utils as klm
from klm_utils.course.exercises import ch05
from klm_utils.course.lessons import training_effects


@pytest.fixture(scope="module")
def encoder():
    return klm.TextEncoder.from_pretrained("minilm")


@pytest.fixture(scope="module")
def split():
    return klm.split(klm.load_dataset("movielens-100k"), "cold_item", fold=0)


def test_what_moves_is_compared_with_the_mode(split, encoder):
    def nudge(model, config):
        with torch.no_grad():
            for weight in model.texts.model.parameters():
                weight.add_(weight.requires_grad * 0.5)

    found = training_effects.moved("partial", split, encoder, nudge)
    assert found["just those of the mode"] and found["moved"] == 32 and found["numbers in them"] == 3_548_928
    still = training_effects.moved("partial", split, encoder, lambda model, config: None)
    assert still["moved"] == 0 and not still["just those of the mode"]


def test_only_square_matrices_have_a_mean(encoder):
    after = encoder.copy().model
    with torch.no_grad():
        after.encoder.layer[0].attention.self.query.weight[0, 0] += 0.5  # one direction
    found = training_effects.directions(encoder.model, after)
    assert all(len(share) == 384 for share in found.values())
    assert found["what training added"][0] == pytest.approx(1 / 24) and found["the matrix itself"][-1] == pytest.approx(
        1
    )


def test_lora_begins_where_b_is_zero():
    dense = torch.nn.Linear(6, 5)
    found = training_effects.first_step(ch05.lora, dense, rank=2)
    assert found["output moves by"].tolist() == [0, 0]
    assert found.loc["A random, B = 0"].tolist()[1:] == ["0", "not 0"]
    assert found.loc["both 0"].tolist()[1:] == ["0", "0"]
    plain = training_effects.first_step(lambda x, W, b, A, B, alpha: x @ W.T + b, dense)
    assert (plain == 0).sum(axis=None) == 2, "an answer without A and B still runs"


def test_the_first_directions_of_a_thin_product_hold_all_of_it():
    draw = torch.Generator().manual_seed(0)
    thin = torch.randn(9, 2, generator=draw) @ torch.randn(2, 7, generator=draw)
    share = training_effects.held_by_first(thin)
    assert share[1] == pytest.approx(1) and share[0] < 1 and len(share) == 7
    assert not training_effects.held_by_first(torch.zeros(3, 3)).any()


def test_what_training_added_is_the_difference(split, encoder):
    after = encoder.copy().model
    with torch.no_grad():
        after.encoder.layer[0].attention.self.query.weight.add_(0.5)
    pairs = training_effects.change(encoder.model, after)
    moved = [name for name, (_, added) in pairs.items() if added.any()]
    assert len(pairs) == 36 and moved == ["encoder.layer.0.attention.self.query.weight"]
    assert torch.allclose(pairs[moved[0]][1], torch.full((384, 384), 0.5))


def test_near_texts_and_shared_viewers(split, encoder):
    vectors = torch.eye(4) + torch.tensor([[0, 0.9, 0.1, 0]] + [[0.0] * 4] * 3)
    assert training_effects.nearest(vectors, 0, ["a", "b", "c", "d"], k=2) == ["b", "c"]
    rows = split.dataset.interactions
    seen = pd.crosstab(rows["item_id"], rows["user_id"]).reindex(split.dataset.items.index, fill_value=0)
    perfect = training_effects.agreement(torch.tensor(seen.to_numpy(dtype=np.float32)), split)
    noise = torch.randn(len(seen), 32, generator=torch.Generator().manual_seed(0))
    by_chance = training_effects.agreement(noise, split)
    assert perfect["all pairs"] == pytest.approx(1) and abs(by_chance["all pairs"]) < 0.1
    assert perfect["beyond fame"] == pytest.approx(1) and abs(by_chance["beyond fame"]) < 0.1
    assert perfect["fame alone"] == by_chance["fame alone"] > 0.2, "famous films share viewers, whatever the text says"
