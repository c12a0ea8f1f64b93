"""How often does an interval hold the truth? Measured on worlds drawn anew from the generator of the shop.

    python benchmarks/coverage.py [REPETITIONS]   # 400: 40 minutes on one core; writes docs/results/06_coverage.json

A world is 200 things and 300 people, drawn anew from those of the shop (things with a quality and a popularity of their
own), and the log of 60 days that follows. Two differences are measured in each, as the course measures them:

lists: nDCG@10 of new things, ten folds, kernel ridge that knows topics, category and price minus one that knows
    category and price.
rows: AUC and log loss of all rows, of the log-odds without the thing's quality minus those of quality alone.

The truth for *other users and other items* is the mean over worlds whose users and items are both new. For *other
users* it is the mean over worlds that keep the items; the world itself is left out of it.
"""

import json
import sys
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

import klm_utils as klm
from klm_utils import progress
from klm_utils.data import shop
from klm_utils.data.shipped import shipped
from klm_utils.data.shop.world import BASE, START, simulate, world_of
from klm_utils.evaluation import intervals, ranking
from klm_utils.models.baselines import KernelRidge

ITEMS, USERS, FOLDS, N_BOOT, KEPT = 200, 300, 10, 500, 20
OUT = Path(__file__).parents[1] / "docs" / "results" / "06_coverage.json"


@cache
def table(name: str) -> pd.DataFrame:
    return pd.read_csv(shipped(f"shop/{name}.csv"), keep_default_na=False)


@cache
def people() -> pd.DataFrame:
    """20,000 users to draw from."""
    pool = pd.concat([shop.draw_users(table("latent_interests"), seed) for seed in range(1, 11)], ignore_index=True)
    return pool.assign(joined=START)


def world(of_items: int, of_users: int):
    """The data set of a world, its topics as vectors, and two sets of log-odds of each row."""
    rng, seed = np.random.default_rng(of_items), of_users
    latent = table("latent_items").iloc[rng.integers(0, len(table("latent_items")), ITEMS)].reset_index(drop=True)
    latent["quality"] = rng.normal(latent["quality"].mean(), table("latent_items")["quality"].std(), ITEMS)
    latent["weight"] = rng.permutation(latent["weight"].to_numpy())
    things = pd.DataFrame({"item_id": range(ITEMS), "title": [f"thing {n}" for n in range(ITEMS)]})
    things = things.assign(category=latent["category"], price=latent["price_z"], launched=START)
    users = people().sample(USERS, random_state=of_users, ignore_index=True)
    pairs = table("latent_complements")
    truth = world_of(things, latent, pairs[(pairs <= latent["kind"].max()).all(axis=1)], users)
    log = simulate(truth, 1_000_003 * of_items + seed)
    rows = {"user_id": log["user"], "item_id": log["item"], "timestamp": log["timestamp"], "label": log["bought"]}
    ds = klm.RecDataset.from_frames(
        things.drop(columns="launched"), None, pd.DataFrame(rows), name="world", chosen_by="label"
    )
    words = sorted({pair.split(":")[0] for text in latent["topics"] for pair in text.split("|")})
    topics = np.array(
        [[dict(p.split(":") for p in text.split("|")).get(w, 0) for w in words] for text in latent["topics"]]
    )
    quality = latent["quality"].to_numpy()
    u, i = log["user"].to_numpy(), log["item"].to_numpy()
    odds = {"taste": truth.static[u, i] - quality[i], "quality": BASE + quality[i]}
    return ds, topics.astype(float), log, odds


def lists(ds, topics: np.ndarray) -> dict:
    """The difference in nDCG@10 over the folds, and its intervals."""
    by_fold, gains = [], []
    for fold in range(FOLDS):
        split = klm.split(ds, "cold_item", fold=fold, folds=FOLDS)
        found = []
        for text in (topics, None):
            model = KernelRidge(text, gammas=(1.0,), regs=(3.0,)).fit(split)
            ranks = ranking.rank(model, split, among="part")
            found.append(intervals.mean_over_users(ranks.users, ranks.values["ndcg@10"]))
        gains.append(intervals.difference(*found))
        by_fold.append(gains[-1].estimate())
    mean, shared = np.mean(by_fold), len(split.test) / len(split.train)
    plain = stats.t.ppf(0.975, FOLDS - 1) * np.std(by_fold, ddof=1) / np.sqrt(FOLDS)
    return {
        "value": mean,
        "users": intervals.interval(intervals.average(gains), n_boot=N_BOOT),
        "folds, corrected": intervals.over_splits(np.array(by_fold), shared),
        "folds, not corrected": (mean - plain, mean + plain),
    }


def rows(log: pd.DataFrame, odds: dict, metric: str) -> dict:
    """The difference in a metric of rows, and its intervals."""
    u, i, y = (log[column].to_numpy() for column in ("user", "item", "bought"))
    if metric == "auc":
        parts = [intervals.pooled_auc(u, y, z, items=i) for z in odds.values()]
        alone = [intervals.pooled_auc(np.arange(len(u)), y, z) for z in odds.values()]
    else:
        parts = [intervals.logloss(u, y, 1 / (1 + np.exp(-z)), items=i) for z in odds.values()]
        alone = [intervals.logloss(np.arange(len(u)), y, 1 / (1 + np.exp(-z))) for z in odds.values()]
    gain = intervals.difference(*parts)
    return {
        "value": gain.estimate(),
        "users": intervals.interval(gain, n_boot=N_BOOT),
        "users and items": intervals.two_way(gain, n_boot=N_BOOT),
        "users and items, pigeonhole": intervals.two_way(gain, n_boot=N_BOOT, pigeonhole=True),
        "rows": intervals.interval(intervals.difference(*alone), n_boot=100),
    }


def measured(of_items: int, of_users: int) -> dict:
    """{what: value and intervals} of one world."""
    ds, topics, log, odds = world(of_items, of_users)
    return {"lists": lists(ds, topics), "auc": rows(log, odds, "auc"), "logloss": rows(log, odds, "logloss")}


def held(found: list[dict], truth: np.ndarray) -> dict:
    """For each kind of interval: the share that holds the truth, and its mean width."""
    kinds = [kind for kind in found[0] if kind != "value"]
    ends = {kind: np.array([one[kind] for one in found]) for kind in kinds}
    return {
        kind: {
            "coverage": round(float(((low <= truth) & (truth <= high)).mean()), 4),
            "width": round(float((high - low).mean()), 5),
        }
        for kind, (low, high) in ((kind, ends[kind].T) for kind in kinds)
    }


def main(repetitions: int) -> dict:
    """Both truths, over so many worlds each."""
    others, same, out = [], [], {}
    for n in range(repetitions):
        progress.line(f"worlds with other users and items: {n} of {repetitions}")
        others.append(measured(n, n))
    for n in range(repetitions):
        progress.line(f"worlds with other users: {n} of {repetitions}")
        same.append(measured(10_000 + n // KEPT, 20_000 + n))
    progress.done()
    group = np.arange(repetitions) // KEPT
    for what in others[0]:
        values = np.array([one[what]["value"] for one in others])
        kept = pd.Series([one[what]["value"] for one in same])
        n = kept.groupby(group).transform("size")
        without = (kept.groupby(group).transform("sum") - kept) / (n - 1)
        out[what] = {
            "true difference": round(float(values.mean()), 5),
            "other users and items": held([one[what] for one in others], values.mean()),
            "other users": held([one[what] for one in same], without.to_numpy()),
        }
    return out


if __name__ == "__main__":
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    found = main(repetitions)
    protocol = (
        f"{ITEMS} items, {USERS} users, {FOLDS} folds, {N_BOOT} draws, nominal 95 %, {KEPT} worlds keep their items"
    )
    record = {"date": datetime.now(UTC).strftime("%Y-%m-%d"), "protocol": protocol, "repetitions": repetitions}
    print(json.dumps(found, indent=1))
    if repetitions >= 400:
        OUT.write_text(json.dumps(record | {"metrics": found}, indent=1) + "\n", encoding="utf8")
