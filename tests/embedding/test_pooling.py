import numpy as np
import pytest
import torch

import klm_utils as klm
from klm_utils.embedding import POOLINGS, last_token, masked_mean
from klm_utils.embedding.pooling import bag_mean, bag_vectors


def batch(*lengths, side, width=8, longest=9):
    """Random token vectors with nan in the padding, and what the tokens of each text are."""
    generator = torch.Generator().manual_seed(1)
    texts = [torch.randn(n, width, generator=generator) for n in lengths]
    hidden, mask = torch.full((len(lengths), longest, width), float("nan")), torch.zeros(len(lengths), longest).long()
    for row, text in enumerate(texts):
        where = slice(0, len(text)) if side == "right" else slice(longest - len(text), longest)
        hidden[row, where], mask[row, where] = text, 1
    return hidden, mask, texts


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(
    "name, expected", [("mean", lambda t: t.mean(0)), ("cls", lambda t: t[0]), ("last", lambda t: t[-1])]
)
def test_each_pooling_sees_the_tokens_of_its_own_text_only(name, expected, side):
    hidden, mask, texts = batch(9, 1, 4, side=side)
    torch.testing.assert_close(POOLINGS[name](hidden, mask), torch.stack([expected(text) for text in texts]))
    assert hidden.mean(1)[1:].isnan().all(), "the plain mean should fail here"


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("dtype", [torch.long, torch.bool, torch.float32])
def test_a_text_without_tokens_is_zero_and_harms_no_other(name, dtype):
    hidden, mask, _ = batch(3, 0, side="right")
    pooled = POOLINGS[name](hidden, mask.to(dtype))
    assert pooled[1].eq(0).all() and pooled[0].isfinite().all() and pooled[0].abs().sum() > 0


@pytest.mark.parametrize("name", POOLINGS)
def test_no_gradient_reaches_the_padding(name):
    hidden, mask, _ = batch(4, 2, side="left")
    hidden = hidden.nan_to_num(5.0).requires_grad_()
    POOLINGS[name](hidden, mask).sum().backward()
    assert hidden.grad[mask == 0].eq(0).all() and hidden.grad[mask == 1].abs().sum() > 0


def test_the_last_token_of_a_real_model_is_the_same_padded_on_either_side(tiny):
    _, model = tiny
    ids, pad = [3, 4, 5], [1, 1]
    right, left = torch.tensor([ids + pad]), torch.tensor([pad + ids])
    mask = torch.tensor([[1, 1, 1, 0, 0]])
    with torch.no_grad():
        alone = model(input_ids=torch.tensor([ids])).last_hidden_state[:, -1]
        on_right = model(input_ids=right, attention_mask=mask).last_hidden_state
        positions = torch.tensor([[0, 0, 0, 1, 2]])
        on_left = model(input_ids=left, attention_mask=mask.flip(1), position_ids=positions).last_hidden_state
    torch.testing.assert_close(last_token(on_right, mask), alone, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(last_token(on_left, mask.flip(1)), alone, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(on_right[:, -1], alone, atol=1e-3), "taking position -1 should fail here"


def test_the_mean_stays_in_the_range_of_the_tokens():
    hidden, mask, texts = batch(5, 2, side="right")
    for pooled, text in zip(masked_mean(hidden, mask), texts, strict=True):
        assert (pooled <= text.max(0).values + 1e-6).all() and (pooled >= text.min(0).values - 1e-6).all()


BAGS = [[0, 2], [1], [], [2, 2, 0, 1]]


def test_a_bag_is_the_mean_of_its_vectors_as_in_torch():
    vectors = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    flat, starts = torch.tensor([i for bag in BAGS for i in bag]), torch.tensor([0, 2, 3, 3])
    theirs = torch.nn.functional.embedding_bag(flat, torch.from_numpy(vectors), starts, mode="mean")
    assert np.allclose(bag_mean(vectors, BAGS), theirs.numpy(), atol=1e-6)
    assert np.allclose(bag_mean(vectors, BAGS), bag_mean(vectors, [bag[::-1] for bag in BAGS]), atol=1e-6)
    assert bag_mean(vectors, []).shape == (0, 5)


def test_a_bag_with_a_row_that_is_not_there_is_named():
    with pytest.raises(klm.DataError, match="bag 1"):
        bag_mean(np.eye(3), [[0, 1], [2, 7], [5]])


@pytest.mark.parametrize("bags", [[[0.5]], [["red"]], ["red"], [[None]], [[[0, 1]]], [[True]]])
def test_rows_that_are_no_whole_numbers_are_refused(bags):
    with pytest.raises(klm.DataError, match="bag_vectors"):
        bag_mean(np.eye(3), bags)


def test_a_text_in_place_of_a_bag_is_not_taken_apart():
    with pytest.raises(klm.DataError, match=r"write \['red'\]"):
        bag_vectors(lambda words: np.eye(len(words)), [["car"], "red"])


def test_bags_of_words_are_encoded_once_and_an_unseen_word_is_no_problem():
    asked = []

    def encode(words):
        asked.append(words)
        return np.array([[len(word), 1.0] for word in words])

    found = bag_vectors(encode, [["ab", "c"], [], ["c", "c", "never seen"]])
    assert asked == [["ab", "c", "never seen"]]
    assert np.allclose(found, [[1.5, 1], [0, 0], [4, 1]])
