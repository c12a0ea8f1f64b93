"""What the article's Dataset was meant to be: a user's text, an item's text and a label for each row of the log."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from klm_utils.data.catalogue import choices, positions
from klm_utils.data.splits import Split
from klm_utils.errors import check_choice, check_kind, check_whole
from klm_utils.knowledge.templates import item_texts, user_texts

Row = tuple[str, str, float]  # text of the user, text of the item, label


class TextPairs(Dataset[Row]):
    """(text of the user, text of the item, label), one for each row of a part of the log, and drawn negatives.

    Args:
        split: a `Split`; users and items are paired as the log pairs them.
        part: "train", "valid" or "test".
        negatives: 0: all rows with their own labels. n: the chosen rows with label 1, each followed by n rows with
            label 0: items that the same user has not chosen in train, drawn among the items of train. Where a user
            has chosen nearly all of them, any item of train.
        seed: of the draw; another one for each epoch gives other negatives.

    Attributes:
        users, items: positions in `split.dataset`, int [n]; labels: float32 [n].
    """

    def __init__(self, split: Split, part: str = "train", negatives: int = 0, seed: int = 0):
        check_kind("TextPairs(split)", split, Split, "a Split", "klm.split(ds, ...)")
        check_choice("part", part, ("train", "valid", "test"))
        negatives, ds, rows = check_whole("negatives", negatives, least=0), split.dataset, getattr(split, part)
        self.user_texts, self.item_texts = user_texts(ds), item_texts(ds)
        rows = ds.chosen(rows) if negatives else rows
        self.users, self.items = (at.repeat(1 + negatives) for at in positions(ds, rows))
        self.labels = rows["label"].to_numpy().astype(np.float32).repeat(1 + negatives)
        if negatives:
            drawn = np.arange(len(self.users)) % (1 + negatives) > 0
            self.labels = np.where(drawn, 0, 1).astype(np.float32)
            self.items[drawn] = _not_chosen(split, self.users[drawn], np.random.default_rng(seed))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> Row:
        return self.user_texts[self.users[row]], self.item_texts[self.items[row]], float(self.labels[row])


def collate(tokenizer: PreTrainedTokenizerBase, max_length: int = 256) -> Callable[[list[Row]], dict[str, Tensor]]:
    """A function that makes a batch for a language model of (text, text, label) rows, for `DataLoader(collate_fn=)`.

    Both texts go into one sequence, [CLS] user [SEP] item [SEP], padded to the longest of the batch.

    Returns of it:
        dict: what the tokenizer gives (input_ids, attention_mask, ..., int [batch, tokens]) and `labels`, float
        [batch]: one number for each pair.
    """

    return partial(_batch, tokenizer, max_length)  # not a function within: workers of a DataLoader are sent a copy


def _batch(tokenizer: PreTrainedTokenizerBase, max_length: int, rows: list[Row]) -> dict[str, Tensor]:
    users, items, labels = zip(*rows, strict=True)
    options = {"padding": True, "truncation": True, "max_length": max_length, "return_tensors": "pt"}
    return {**tokenizer(list(users), list(items), **options), "labels": torch.tensor(labels, dtype=torch.float32)}


def _not_chosen(split: Split, users: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For each user an item of train that the user has not chosen there, as positions."""
    n, pool = len(split.dataset.items), np.unique(positions(split.dataset, split.train)[1])
    user, item = choices(split, split.train)
    met = user * n + item
    items, open_ = rng.choice(pool, len(users)), np.arange(len(users))
    for _ in range(100):  # what is left then belongs to users who have chosen nearly everything
        open_ = open_[np.isin(users[open_] * n + items[open_], met)]
        if not len(open_):
            break
        items[open_] = rng.choice(pool, len(open_))
    return items
