"""A text pair for each row of the log, as the article meant it (its E18, E19, E24, E50, E53)."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader

import klm_utils as klm
from klm_utils.course.lessons.pairs import TextPairs, collate
from klm_utils.errors import ConfigError
from klm_utils.knowledge.templates import item_texts, user_texts


@pytest.fixture(scope="module")
def films():
    return klm.split(klm.load_dataset("movielens-100k"), "random")


def test_users_and_items_are_paired_as_the_log_pairs_them(films):
    pairs, ds = TextPairs(films), films.dataset
    assert len(pairs) == len(films.train) == 80_000
    users, items = pd.Series(user_texts(ds), ds.users.index), pd.Series(item_texts(ds), ds.items.index)
    for row in (0, 17, 79_999):
        log = films.train.iloc[row]
        assert pairs[row] == (users[log["user_id"]], items[log["item_id"]], float(log["label"]))
    assert isinstance(pairs[0][2], float) and 0.3 < pairs.labels.mean() < 0.8


def test_negatives_are_drawn_from_train_and_never_chosen_there(films):
    pairs = TextPairs(films, negatives=3, seed=1)
    chosen = films.dataset.chosen(films.train)
    assert len(pairs) == 4 * len(chosen) and pairs.labels.mean() == pytest.approx(0.25)
    ds = films.dataset
    met = set(
        zip(ds.users.index.get_indexer(chosen["user_id"]), ds.items.index.get_indexer(chosen["item_id"]), strict=True)
    )
    drawn = pairs.labels == 0
    assert not met & set(zip(pairs.users[drawn], pairs.items[drawn], strict=True))
    assert met == set(zip(pairs.users[~drawn], pairs.items[~drawn], strict=True))
    assert np.array_equal(pairs.users[::4], pairs.users[3::4]), "each negative is of the same user"
    known = set(ds.items.index.get_indexer(films.train["item_id"]))
    assert set(pairs.items[drawn]) <= known
    again, other = TextPairs(films, negatives=3, seed=1), TextPairs(films, negatives=3, seed=2)
    assert np.array_equal(again.items, pairs.items) and not np.array_equal(other.items, pairs.items)


def test_a_user_who_chose_everything_in_train_gets_some_item_of_train():
    items = pd.DataFrame({"item_id": range(10), "title": [f"film {n}" for n in range(10)], "tags": [["a"]] * 10})
    log = pd.DataFrame({"user_id": 1, "item_id": range(10), "timestamp": range(10), "rating": 5})
    ds = klm.RecDataset.from_frames(items, pd.DataFrame({"user_id": [1]}), log)
    pairs, known = TextPairs(klm.split(ds, "random"), negatives=2), klm.split(ds, "random").train["item_id"]
    assert len(pairs) == 3 * len(known) and set(ds.items.index[pairs.items]) <= set(known)


def test_a_batch_has_one_number_per_pair_and_no_more_padding_than_it_needs(films):
    encoder = klm.TextEncoder.from_pretrained("minilm")
    loader = DataLoader(TextPairs(films), batch_size=4, collate_fn=collate(encoder.tokenizer))
    batch = next(iter(loader))
    assert batch["labels"].shape == (4,) and batch["labels"].dtype == torch.float32
    assert batch["input_ids"].shape == batch["attention_mask"].shape and batch["input_ids"].shape[0] == 4
    assert batch["attention_mask"].sum(1).max() == batch["input_ids"].shape[1] < 128
    user, item, _ = TextPairs(films)[0]
    text = encoder.tokenizer.decode(batch["input_ids"][0], skip_special_tokens=True)
    assert text == f"{user} {item}".lower() or text.replace(" ", "") == f"{user}{item}".lower().replace(" ", "")
    assert batch["token_type_ids"][0].unique().tolist() == [0, 1]


def test_workers_of_a_loader_can_be_sent_a_copy(films):
    encoder = klm.TextEncoder.from_pretrained("minilm")
    options = {"num_workers": 1, "multiprocessing_context": "spawn", "collate_fn": collate(encoder.tokenizer)}
    one = next(iter(DataLoader(TextPairs(films), batch_size=4, **options)))
    two = next(iter(DataLoader(TextPairs(films), batch_size=4, collate_fn=collate(encoder.tokenizer))))
    assert torch.equal(one["input_ids"], two["input_ids"])


def test_a_long_pair_is_cut(films):
    encoder = klm.TextEncoder.from_pretrained("minilm")
    batch = collate(encoder.tokenizer, max_length=16)([("word " * 100, "film " * 100, 1.0)])
    assert batch["input_ids"].shape == (1, 16)


def test_a_language_model_learns_from_it(films):
    """One forward and backward pass through a classifier with one output: the loss of the labels, and gradients."""
    from transformers import BertConfig, BertForSequenceClassification

    encoder = klm.TextEncoder.from_pretrained("minilm")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    model = BertForSequenceClassification(BertConfig(vocab_size=len(encoder.tokenizer), num_labels=1, **sizes))
    batch = next(iter(DataLoader(TextPairs(films, negatives=1), 8, True, collate_fn=collate(encoder.tokenizer))))
    labels = batch.pop("labels")
    loss = klm.losses.bce_with_logits(model(**batch).logits[:, 0], labels)
    loss.backward()
    assert torch.isfinite(loss) and all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("wrong", [{"part": "all"}, {"negatives": -1}, {"negatives": 1.5}])
def test_what_has_no_meaning_is_refused(films, wrong):
    with pytest.raises(ConfigError):
        TextPairs(films, **wrong)
