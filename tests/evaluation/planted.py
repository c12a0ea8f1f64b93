"""A log with planted structure, and a model that is a table."""

import numpy as np
import pandas as pd

import klm_utils as klm


class Table:
    """A model that looks its scores up; what is not in the table has `default`."""

    def __init__(self, scores, default=0.5, name="table", objective="label"):
        self.scores, self.default, self.name, self.objective = scores, default, name, objective

    def predict(self, user_ids, item_ids):
        return np.array([self.scores.get(pair, self.default) for pair in zip(user_ids, item_ids, strict=True)])


def planted(users=60, items=40, rows=1500, seed=0, **fields):
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
