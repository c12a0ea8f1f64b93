"""Small logs with planted structure, a small language model, and a model that is a table; also for subprocesses."""

import signal
from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

import klm_utils as klm

WORDS = ["[UNK]", "[PAD]", "red", "green", "big", "small", "car", "shoe", "phone", "book", "plus", "minus"]
USERS, ITEMS, ROWS = 40, 30, 700
FAST = {"epochs": 3, "batch": 128, "lr": 0.02}
LABEL = {"objective": "label", "batch": 128, "lr": 0.02, "epochs": 4}
INTERACTION = {"objective": "interaction", "batch": 8, "lr": 0.02, "epochs": 4}
BOTH = pytest.mark.parametrize("settings", [LABEL, INTERACTION], ids=["label", "interaction"])


def planted(seed=0, text_ids=False, **fields):
    """Ratings that follow a taste (told by gender) for a trait (told by tag), a user and an item bias, and noise."""
    rng = np.random.default_rng(seed)
    taste, trait = rng.choice([-1.0, 1.0], USERS), rng.choice([-1.0, 1.0], ITEMS)
    user_bias, item_bias = rng.normal(0, 0.6, USERS), rng.normal(0, 0.6, ITEMS)
    pairs = rng.choice(USERS * ITEMS, ROWS, replace=False, p=popular(rng))
    u, i = pairs // ITEMS, pairs % ITEMS
    rating = 3.3 + user_bias[u] + item_bias[i] + taste[u] * trait[i] + rng.normal(0, 0.5, ROWS)
    user_ids, item_ids = np.arange(USERS) + 1, np.arange(ITEMS) + 101
    if text_ids:
        user_ids = np.array([f"用户 {n} é" for n in user_ids])
        item_ids = np.array([f'00{n} "ß\n🎬' for n in item_ids])
    titles = [f"{WORDS[2 + n % 4]} {WORDS[6 + n // 4 % 4]} {n}" for n in range(ITEMS)]
    return klm.RecDataset.from_frames(
        pd.DataFrame({"item_id": item_ids, "title": titles, "tags": [["plus" if t > 0 else "minus"] for t in trait]}),
        pd.DataFrame({"user_id": user_ids, "gender": np.where(taste > 0, "F", "M")}),
        pd.DataFrame(
            {
                "user_id": user_ids[u],
                "item_id": item_ids[i],
                "timestamp": np.arange(ROWS),
                "rating": np.clip(np.rint(rating), 1, 5),
            }
        ),
        **({"name": "planted"} | fields),
    )


def popular(rng):
    """Some items are chosen more often than others, so that there is a choice to predict."""
    weight = np.tile(rng.gamma(1.0, 1.0, ITEMS) + 0.1, USERS)
    return weight / weight.sum()


def altered(ds, rows):
    """The same data set with other labels, ratings and items in these rows; each item keeps its number of rows.

    Rows exchange their items two by two, where that repeats no pair of the log.
    """
    log = ds.interactions.copy()
    log.loc[rows, "label"] = 1 - log.loc[rows, "label"]
    log.loc[rows, "rating"] = 6 - log.loc[rows, "rating"]
    there, users, items = set(zip(log["user_id"], log["item_id"], strict=True)), log["user_id"], log["item_id"].copy()
    for a, b in combinations(rows, 2):
        pairs = {(users[a], items[b]), (users[b], items[a])}
        if not pairs & there:
            items[a], items[b] = items[b], items[a]
            there |= pairs
    log["item_id"] = items
    return replace(ds, interactions=log)


def tiny_encoder(layers=1, width=8, words=WORDS, **special):
    """A BERT with random weights, eight wide, which knows twelve words."""
    words = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="[UNK]", pad_token="[PAD]", model_max_length=32, **special
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        sizes = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": 2}
        sizes |= {"intermediate_size": 2 * width}
        config = BertConfig(vocab_size=words.get_vocab_size(), max_position_embeddings=32, pad_token_id=1, **sizes)
        model = BertModel(config, add_pooling_layer=False)
    return klm.TextEncoder(tokenizer, model, "tiny", max_length=32, device="cpu")


def weights(model):
    """The trained weights, by name."""
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def same(a, b):
    """Whether two models, or two dicts of weights, are equal to the bit."""
    a, b = (x if isinstance(x, dict) else weights(x) for x in (a, b))
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def rows_of(history):
    """The epochs without their seconds."""
    return history.epochs.drop(columns="seconds")


def all_pairs(ds):
    return np.repeat(ds.users.index, len(ds.items)), np.tile(ds.items.index, len(ds.users))


def stepped(monkeypatch, at, action):
    """Do something in the `at`-th step of the optimiser."""
    step, calls = torch.optim.AdamW.step, [0]

    def wrapped(self, *args, **kwargs):
        calls[0] += 1
        if calls[0] == at:
            action()
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", wrapped)


def ctrl_c():
    signal.raise_signal(signal.SIGINT)


class Table:
    """A model that looks its scores up; what is not in the table has `default`."""

    def __init__(self, scores, default=0.5, name="table", objective="label"):
        self.scores, self.default, self.name, self.objective = scores, default, name, objective

    def predict(self, user_ids, item_ids):
        return np.array([self.scores.get(pair, self.default) for pair in zip(user_ids, item_ids, strict=True)])


def tasteful(users=60, items=40, rows=1500, seed=0, **fields):
    """A log whose labels follow a two-dimensional taste, a user bias and an item bias."""
    rng = np.random.default_rng(seed)
    taste, trait = rng.choice([-1.0, 1.0], users), rng.choice([-1.0, 1.0], items)
    user_bias, item_bias = rng.normal(0, 0.6, users), rng.normal(0, 0.6, items)
    pairs = rng.choice(users * items, rows, replace=False)
    u, i = pairs // items, pairs % items
    rating = np.clip(np.rint(3.3 + user_bias[u] + item_bias[i] + taste[u] * trait[i] + rng.normal(0, 0.5, rows)), 1, 5)
    return klm.RecDataset.from_frames(
        pd.DataFrame(
            {
                "item_id": np.arange(items) + 1,
                "title": [f"film {n}" for n in range(items)],
                "tags": [["plus" if t > 0 else "minus"] for t in trait],
            }
        ),
        pd.DataFrame({"user_id": np.arange(users) + 1, "gender": np.where(taste > 0, "F", "M")}),
        pd.DataFrame({"user_id": u + 1, "item_id": i + 1, "timestamp": np.arange(rows), "rating": rating}),
        name="planted",
        **fields,
    )


def refused(tables, match, **frames):
    """The error that a data set of these tables, some of them replaced, ends with."""
    with pytest.raises(klm.DataError, match=match) as caught:
        klm.RecDataset.from_frames(**tables | frames)
    return caught.value


def with_text_ids(tables):
    """The tables with text for ids."""
    frames = {name: frame.copy() for name, frame in tables.items()}
    for frame in frames.values():
        for column in {"item_id", "user_id"} & set(frame):
            frame[column] = ("id " + frame[column].astype(str)).astype(object)
    return frames
