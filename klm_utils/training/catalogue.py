"""The catalogue of a fusion: from a data set and its split, or from a saved network."""

import numpy as np
import pandas as pd
import torch

from klm_utils.data.features import item_features, user_features
from klm_utils.fusion import Catalogue


def known(ds, split, text: np.ndarray | None, user_text: np.ndarray | None, profile: str) -> Catalogue:
    """What is known of users and items: of the interactions, those of train and the shown ones."""
    chosen = _chosen(split)
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
    """user * items + item of each pair that `known` takes from a split, by position and sorted, int [n]."""
    chosen = _chosen(split)
    keys = users.get_indexer(chosen.user_id) * len(items) + items.get_indexer(chosen.item_id)
    return torch.from_numpy(np.sort(keys))


def _chosen(split) -> pd.DataFrame:
    """Each pair once, in order of time."""
    rows = pd.concat([split.train, split.shown]) if len(split.shown) else split.train
    return split.dataset.chosen(rows)[["user_id", "item_id"]].drop_duplicates(keep="last")


def saved(state: dict[str, torch.Tensor]) -> Catalogue:
    """The catalogue that a saved network was built from."""
    items = len(state["known_items"])
    return Catalogue(
        **{name: state[name].numpy() for name in ("text", "user_text", "item_features", "user_features")},
        pairs=np.stack([state["pairs"].numpy() // items, state["pairs"].numpy() % items]),
        known_users=state["known_users"].numpy()[:, 0],
        known_items=state["known_items"].numpy()[:, 0],
    )
