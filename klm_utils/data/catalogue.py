"""What is known of users and items, by position; and ids to positions."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike

from klm_utils.data.rules import places
from klm_utils.data.schema import RecDataset
from klm_utils.data.splits import Split
from klm_utils.errors import DataError


@dataclass(frozen=True)
class Catalogue:
    """What is known of users and items, by position.

    text, user_text: vectors of the texts of items and of profiles, float [items, dim], [users, dim]; dim 0: no text.
    item_features, user_features: side features, float [items, f] and [users, g].
    pairs: (user, item) positions of what each user chose in train, or was shown for, int [2, n], each pair once.
    facts: vectors of what is known of items from outside, float [items, h]; None: nothing.
    known_users, known_items: whether the id occurs in train, bool [users], [items]; others have no id vector.
    """

    text: np.ndarray
    user_text: np.ndarray
    item_features: np.ndarray
    user_features: np.ndarray
    pairs: np.ndarray
    known_users: np.ndarray
    known_items: np.ndarray
    facts: np.ndarray | None = None


def catalogue_of(
    split: Split,
    text: np.ndarray | None,
    user_text: np.ndarray | None,
    items: np.ndarray,
    users: np.ndarray,
    facts: np.ndarray | None = None,
) -> Catalogue:
    """What is known of users and items: of the interactions, those of train and the shown ones.

    Args:
        text, user_text: vectors of texts; None: there are none.
        items, users: side features.
        facts: vectors of facts of the items.
    """
    ds = split.dataset
    user, item = positions(ds, split.train)
    return Catalogue(
        text=np.zeros((len(ds.items), 0), dtype=np.float32) if text is None else text,
        user_text=np.zeros((len(ds.users), 0), dtype=np.float32) if user_text is None else user_text,
        item_features=items,
        user_features=users,
        pairs=np.stack(choices(split)),
        known_users=np.isin(np.arange(len(ds.users)), user),
        known_items=np.isin(np.arange(len(ds.items)), item),
        facts=facts,
    )


def positions(ds: RecDataset, frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """(user, item) positions of the rows of a log in the tables of a data set, int [n] each."""
    return places(ds.users.index, frame["user_id"]), places(ds.items.index, frame["item_id"])


def choices(split: Split, frame: pd.DataFrame | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(user, item) positions of what was chosen in a frame, int [n] each; None: in `past(split)`.

    Each pair is there once, in order of time, where it was chosen last.
    """
    return _places(split, frame, split.dataset.users.index, split.dataset.items.index)


def known_pairs(split: Split, users: pd.Index, items: pd.Index) -> torch.Tensor:
    """user * items + item of each of the `choices`, by position in these indexes and sorted, int [n]."""
    user, item = _places(split, None, users, items)
    return torch.from_numpy(np.sort(user * len(items) + item))


def _places(split: Split, frame: pd.DataFrame | None, users: pd.Index, items: pd.Index):
    chosen = split.dataset.chosen(past(split) if frame is None else frame)
    chosen = chosen[["user_id", "item_id"]].drop_duplicates(keep="last")
    return places(users, chosen["user_id"]), places(items, chosen["item_id"])


def saved(state: dict[str, torch.Tensor]) -> Catalogue:
    """The catalogue that a saved network was built from."""
    items = len(state["known_items"])
    return Catalogue(
        **{name: state[name].numpy() for name in ("text", "user_text", "item_features", "user_features", "facts")},
        pairs=np.stack([state["pairs"].numpy() // items, state["pairs"].numpy() % items]),
        known_users=state["known_users"].numpy()[:, 0],
        known_items=state["known_items"].numpy()[:, 0],
    )


def past(split: Split) -> pd.DataFrame:
    """The rows that may describe a *user* at prediction: train, and the shown rows of cold users."""
    return pd.concat([split.train, split.shown]) if len(split.shown) else split.train


def need_both_labels(split: Split, part: str = "train") -> None:
    """Raise `DataError` if all labels of a part are equal: there is nothing to tell apart."""
    labels = getattr(split, part)["label"]
    if labels.nunique() < 2:
        remedy = 'objective="interaction" asks what users choose; or another seed, or labels by another threshold'
        where, found = f"split.{part}, column label", int(labels.iloc[0])
        raise DataError(f"All labels of {part} are equal", where, found, "rows with label 0 and with label 1", remedy)


def paired(user_ids: ArrayLike, item_ids: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Two flat arrays of equal length, or `DataError`."""
    try:
        users, items = np.asarray(user_ids), np.asarray(item_ids)
    except ValueError:  # lists of several lengths
        users = items = np.zeros(())
    if users.ndim != 1 or users.shape != items.shape:
        found = (users.shape, items.shape) if users.ndim else (user_ids, item_ids)
        what, expected = "Users and items do not pair up", "two flat lists of equal length"
        raise DataError(what, "predict(user_ids, item_ids)", found, expected, "pass one user and one item each")
    return users, items


def find(index: pd.Index, ids: ArrayLike, argument: str) -> np.ndarray:
    """Positions of ids in an index, int64 [n].

    Raises:
        DataError: an id that is not there, named with its position; no flat list.
    """
    ids = np.asarray(ids)
    if ids.ndim != 1:
        raise DataError("ids are not a flat list", argument, f"shape {ids.shape}", "a flat list", "flatten it")
    found_at = places(index, ids)
    if (found_at < 0).any():
        at = int(np.flatnonzero(found_at < 0)[0])
        where = f"{argument}, position {at}" if len(ids) > 1 else argument
        found = ids[at].item() if isinstance(ids[at], np.generic) else ids[at]
        kind = f"one of {len(index)} ids of the kind of {index[:1].tolist()[0]!r}"
        remedy = "use ids of the data set that the split was made from; for new items see with_items"
        raise DataError("This id is not in the data set", where, found, kind, remedy)
    return found_at.astype(np.int64)
