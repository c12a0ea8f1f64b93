"""Full ranking and its intervals: seconds at the size of MovieLens-100K, memory at a hundred times the users.

The large run ranks some of the users and states what all of them take; its memory does not depend on how many.
"""

import resource
import time

import numpy as np
import pandas as pd

import klm_utils as klm
from klm_utils.evaluation import intervals, ranking


class Factors:
    """Scores from factors, computed when asked for."""

    def __init__(self, users: int, items: int, width: int = 16):
        rng = np.random.default_rng(0)
        self.u, self.i = (rng.normal(size=(n, width)).astype("float32") for n in (users, items))

    def predict(self, user_ids, item_ids):
        return (self.u[user_ids] * self.i[item_ids]).sum(1)

    def predict_grid(self, user_ids, item_ids):
        return self.u[user_ids] @ self.i[item_ids].T


def split_of(users: int, items: int, rows: int) -> klm.Split:
    rng = np.random.default_rng(1)
    log = pd.DataFrame({"user_id": rng.integers(users, size=rows), "item_id": rng.integers(items, size=rows)})
    things = pd.DataFrame({"item_id": range(items), "title": "a thing"})
    ds = klm.RecDataset.from_frames(things, pd.DataFrame({"user_id": range(users)}), log.drop_duplicates())
    return klm.split(ds, "random")


def timed(model, split) -> tuple[float, ranking.Ranking]:
    start = time.perf_counter()
    ranks = ranking.rank(model, split)
    return time.perf_counter() - start, ranks


def main() -> None:
    small, ranks = timed(Factors(943, 1682), split_of(943, 1682, 100_000))
    print(f"943 users x 1,682 items: {small:.2f} s for {len(ranks.users)} users with a new choice")
    start = time.perf_counter()
    intervals.interval(intervals.mean_over_users(ranks.users, ranks.values["ndcg@10"]))
    print(f"1,000 draws of its nDCG@10: {time.perf_counter() - start:.2f} s")
    rng = np.random.default_rng(2)
    u, i, y, s = (
        rng.integers(0, 943, 10_000),
        rng.integers(0, 1682, 10_000),
        rng.integers(0, 2, 10_000),
        rng.random(10_000),
    )
    stat = intervals.pooled_auc(u, y, s, i)
    for name, draw in (("users", intervals.interval), ("users and items", intervals.two_way)):
        start = time.perf_counter()
        draw(stat)
        print(f"1,000 draws of {name} of an AUC of 10,000 rows: {time.perf_counter() - start:.2f} s")
    users, items = 100_000, 50_000
    seconds, ranks = timed(Factors(users, items), split_of(users, items, 20_000))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    whole = seconds * users / len(ranks.users) / 60
    print(f"{users:,} users x {items:,} items: {seconds:.0f} s for {len(ranks.users):,} users, {whole:.0f} min for all")
    print(f"peak of the whole process {peak:.2f} GB")


if __name__ == "__main__":
    main()
