"""Notebook 08: a model of films in a shop, and two behaviours in one history."""

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from klm_utils.course.lessons.judging import of_these
from klm_utils.data.schema import RecDataset
from klm_utils.data.splits import Split, split
from klm_utils.models.next_item import NextItem
from klm_utils.models.sequence import SASRec

SHOWN, BOUGHT = 0, 1_000_000  # added to an item's id


def centred(vectors: np.ndarray, length: float = 3.0) -> np.ndarray:
    """Vectors less their mean, `length` long: what two domains have in common is the directions, not the mean."""
    apart = vectors - vectors.mean(0)
    return apart / np.linalg.norm(apart, axis=1, keepdims=True) * length


def moved(model: SASRec, items, vectors: np.ndarray) -> SASRec:
    """The same weights over other items, known by their vectors alone; without a bias, which was of the old ones."""
    size: dict[str, Any] = {"width": model.places.shape[1], "heads": model.heads, "blocks": len(model.blocks)}
    other = SASRec(items, vectors=vectors, ids=False, length=model.length, dropout=model.dropout, **size)
    weights = {name: value for name, value in model.state_dict().items() if name not in ("vectors", "bias")}
    missing = other.load_state_dict(weights, strict=False)
    assert sorted(missing.missing_keys) == ["bias", "vectors"], missing
    return other


def share_of_users(whole: Split, share: float, seed: int = 0) -> Split:
    """The same split, of whose users in train only a share is left."""
    users = whole.train["user_id"].unique()
    kept = np.random.default_rng(seed).permutation(users)[: max(2, round(share * len(users)))]
    return share_of_rows(whole, whole.train["user_id"].isin(kept))


def share_of_rows(whole: Split, kept: pd.Series) -> Split:
    """The same split with these rows of train; the others are nowhere."""
    parts = {part: getattr(whole, part).index for part in ("valid", "test", "shown")}
    return of_these(whole.dataset, parts | {"train": whole.train.index[kept]}, whole.protocol, "share")


def behaviours(ds: RecDataset) -> Split:
    """The shop by time, with two ids for each item, shown and bought: what is asked is what will be bought next.

    What was only shown in valid and test stands in `shown`: it may be read, and is not asked for.
    """
    log = ds.interactions.assign(item_id=ds.interactions["item_id"] + np.where(ds.interactions["label"], BOUGHT, SHOWN))
    twice = [ds.items.set_axis(ds.items.index + of, axis=0).rename_axis("item_id") for of in (SHOWN, BOUGHT)]
    both = RecDataset.from_frames(
        pd.concat(twice).reset_index(),
        ds.users.reset_index(),
        log[["user_id", "item_id", "timestamp"]],
        name=ds.name,
    )
    whole = split(both, "temporal")
    asked = {part: frame[frame["item_id"] >= BOUGHT] for part, frame in (("valid", whole.valid), ("test", whole.test))}
    only_read = pd.concat([whole.valid, whole.test])
    only_read = only_read[only_read["item_id"] < BOUGHT]
    how = f"{ds.name}, temporal 80/10/10 by time, what will be bought next"
    return Split(whole.train, asked["valid"], asked["test"], how, both, "behaviours", only_read)


class Reads:
    """A model that is shown a part of each history."""

    def __init__(self, model: NextItem, kind: str):
        self.model, self.items, self.kind, self.name = model, model.items, kind, f"{model.name}, {kind}"

    def predict(self, histories) -> np.ndarray:
        """Only what was bought, or what was bought and shown as if it were all one."""
        return self.model.predict([_read(past, self.kind) for past in histories])


def _read(past: list, kind: str) -> list:
    if kind == "bought":
        return [item for item in past if item >= BOUGHT]
    return [item if item >= BOUGHT else item + BOUGHT for item in past] if kind == "all as bought" else list(past)


def reading(whole: Split, kind: str) -> Split:
    """The split with train as a model of this kind reads it."""
    if kind == "bought":
        return share_of_rows(whole, whole.train["item_id"] >= BOUGHT)
    log = whole.dataset.interactions.copy()
    if kind == "all as bought":
        log.loc[whole.train.index, "item_id"] = _read(log.loc[whole.train.index, "item_id"].tolist(), kind)
    parts = {part: log.loc[getattr(whole, part).index] for part in ("train", "valid", "test", "shown")}
    return Split(**parts, protocol=whole.protocol, dataset=replace(whole.dataset, interactions=log), name="reading")


def milliseconds(encoder, texts: list[str]) -> float:
    """Time to encode a text, by one thread, in milliseconds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        start = time.perf_counter()
        encoder.encode(texts)
        return 1000 * (time.perf_counter() - start) / len(texts)
    finally:
        torch.set_num_threads(threads)
