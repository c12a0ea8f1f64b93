"""What is known of users and items, by position; and ids to positions."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from klm_utils.data.features import item_features, user_features
from klm_utils.errors import DataError


@dataclass(frozen=True)
class Catalogue:
    """What is known of users and items, by position.

    text, user_text: vectors of the texts of items and of profiles, float [items, dim], [users, dim]; dim 0: no text.
    item_features, user_features: side features, float [items, f] and [users, g].
    pairs: (user, item) positions of what each user chose in train, or was shown for, int [2, n], each pair once.
    known_users, known_items: whether the id occurs in train, bool [users], [items]; others have no id vector.
    """

    text: np.ndarray
    user_text: np.ndarray
    item_features: np.ndarray
    user_features: np.ndarray
    pairs: np.ndarray
    known_users: np.ndarray
    known_items: np.ndarray


def catalogue_of(split, text: np.ndarray | None, user_text: np.ndarray | None, profile: str) -> Catalogue:
    """What is known of users and items: of the interactions, those of train and the shown ones."""
    ds, chosen = split.dataset, _chosen(split)
    users = user_features(split)[1]
    return Catalogue(
        text=np.zeros((len(ds.items), 0), dtype=np.float32) if text is None else text,
        user_text=np.zeros((len(ds.users), 0), dtype=np.float32) if user_text is None else user_text,
        item_features=item_features(split)[1],
        user_features=users[:, :0] if profile == "text" else users,
        pairs=np.stack([ds.users.index.get_indexer(chosen.user_id), ds.items.index.get_indexer(chosen.item_id)]),
        known_users=ds.users.index.isin(split.train["user_id"]),
        known_items=ds.items.index.isin(split.train["item_id"]),
    )


def known_pairs(split, users: pd.Index, items: pd.Index) -> torch.Tensor:
    """user * items + item of each pair that `catalogue_of` takes from a split, by position and sorted, int [n]."""
    chosen = _chosen(split)
    keys = users.get_indexer(chosen.user_id) * len(items) + items.get_indexer(chosen.item_id)
    return torch.from_numpy(np.sort(keys))


def _chosen(split) -> pd.DataFrame:
    """Each pair once, in order of time."""
    return split.dataset.chosen(past(split))[["user_id", "item_id"]].drop_duplicates(keep="last")


def saved(state: dict[str, torch.Tensor]) -> Catalogue:
    """The catalogue that a saved network was built from."""
    items = len(state["known_items"])
    return Catalogue(
        **{name: state[name].numpy() for name in ("text", "user_text", "item_features", "user_features")},
        pairs=np.stack([state["pairs"].numpy() // items, state["pairs"].numpy() % items]),
        known_users=state["known_users"].numpy()[:, 0],
        known_items=state["known_items"].numpy()[:, 0],
    )


def past(split) -> pd.DataFrame:
    """The rows that may describe a *user* at prediction: train, and the shown rows of cold users."""
    return pd.concat([split.train, split.shown]) if len(split.shown) else split.train


def need_both_labels(split, part: str = "train") -> None:
    """Raise `DataError` if all labels of a part are equal: there is nothing to tell apart."""
    labels = getattr(split, part)["label"]
    if labels.nunique() < 2:
        raise DataError(
            f"All labels of {part} are equal",
            where=f"split.{part}, column label",
            found=int(labels.iloc[0]),
            expected="rows with label 0 and rows with label 1",
            remedy='objective="interaction" asks what users choose; or another seed, or labels by another threshold',
        )


def paired(user_ids, item_ids) -> tuple[np.ndarray, np.ndarray]:
    """Two flat arrays of equal length, or `DataError`."""
    try:
        users, items = np.asarray(user_ids), np.asarray(item_ids)
    except ValueError:  # lists of several lengths
        users = items = np.zeros(())
    if users.ndim != 1 or users.shape != items.shape:
        raise DataError(
            "Users and items do not pair up",
            where="predict(user_ids, item_ids)",
            found=(users.shape, items.shape) if users.ndim else (user_ids, item_ids),
            expected="two flat lists of equal length",
            remedy="pass one user and one item for each prediction",
        )
    return users, items


def find(index: pd.Index, ids: np.ndarray, argument: str) -> np.ndarray:
    """Positions of ids in an index, int [n]; an id that is not there raises `DataError`."""
    places = index.get_indexer(ids)
    if (places < 0).any():
        at = int(np.flatnonzero(places < 0)[0])
        raise DataError(
            "This id is not in the data set",
            where=f"{argument}, position {at}" if len(ids) > 1 else argument,
            found=ids[at].item() if isinstance(ids[at], np.generic) else ids[at],
            expected=f"one of {len(index)} ids of the kind of {index[:1].tolist()[0]!r}",
            remedy="use ids of the data set that the split was made from",
        )
    return places
