"""The numbers of the data card: python data/shop/measure.py [SEEDS] prints its tables.

Protocol: intervals at 95 %, bootstrap over users, pooled over three seeds of users (the catalogue is the same in all).
"""

import sys
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.special import expit, logit
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import MultiLabelBinarizer

import klm_utils as klm
from klm_utils.data import shop
from klm_utils.data.shop.world import COMPLEMENT, DAY, NEW_AFTER, PROFILE, SAME_TYPE, SEASON, START, History, in_season
from klm_utils.evaluation import intervals, metrics

HERE = Path(__file__).parent
RULES = {
    "a complement of something bought is more likely": COMPLEMENT,
    "in its season more likely, out of it less": SEASON,
    "a second of the same type is less likely": SAME_TYPE,
}


@cache
def table(name: str) -> pd.DataFrame:
    """A table of this folder."""
    return pd.read_csv(HERE / f"{name}.csv", keep_default_na=False)


def positions(ds, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Of user and item of each row."""
    return ds.users.index.get_indexer(rows["user_id"]), ds.items.index.get_indexer(rows["item_id"])


def cold_rows(ds) -> np.ndarray:
    """Rows of items with tags of their own, bool [rows]."""
    return ds.interactions["item_id"].map(ds.items["launched"]).to_numpy() > START


def flags(ds, seed: int) -> np.ndarray:
    """How far each rule applies to each row: 0 or 1, the season also -1; float [rows, 3] in the order of `RULES`."""
    users = shop.draw_users(table("latent_interests"), seed)
    world = shop.world_of(table("items"), table("latent_items"), table("latent_complements"), users)
    log, history = ds.interactions, History(world)
    (u, i), t = positions(ds, log), log["timestamp"].to_numpy()
    bought = log["label"].to_numpy() == 1
    history.add(u[bought], i[bought], t[bought])
    with_complement, with_same = history.before(u, i, t)
    return np.column_stack([with_complement, in_season(world.season[i], t), with_same]).astype(float)


def ceilings(ds) -> dict[str, float]:
    """What the true probabilities reach on the rows, and on the lists that were shown."""
    log, p = ds.interactions, ds.optimum
    place = log.groupby("list").cumcount()
    shape = (log["list"].max(), place.max() + 1)
    y, s = np.zeros(shape), np.full(shape, -1.0)  # an empty slot stands below every probability
    y[log["list"] - 1, place], s[log["list"] - 1, place] = log["label"], p
    cold = cold_rows(ds)
    return {
        "rows": len(log),
        "share bought": log["label"].mean(),
        "AUC": metrics.auc(log["label"], p),
        "log loss": metrics.logloss(log["label"], p),
        "AUC, warm items": metrics.auc(log["label"][~cold], p[~cold]),
        "mean AUC of a user": intervals.user_auc(log["user_id"].to_numpy(), log["label"].to_numpy(float), p).estimate(),
        "nDCG@10 of a list shown": metrics.ndcg(y, s, 10),
        "nDCG@10 as shown": metrics.ndcg(y, -np.arange(shape[1]) * np.ones(shape), 10),
    }


def rule_strengths(ds, seed: int) -> list[dict]:
    """For each rule: rows it applies to, share bought there, the share without the rule, and its log-odds estimated
    from the purchases, all else as stated (maximum likelihood of one number), with a 95 % interval."""
    x, y, found = flags(ds, seed), ds.interactions["label"].to_numpy(float), []
    for j, (rule, stated) in enumerate(RULES.items()):
        without, b = logit(ds.optimum) - stated * x[:, j], 0.0
        for _ in range(20):  # Newton
            p = expit(without + b * x[:, j])
            information = (p * (1 - p) * x[:, j] ** 2).sum()
            b += ((y - p) * x[:, j]).sum() / information
        on = x[:, j] == 1
        found.append(
            {
                "rule": rule,
                "rows": int(on.sum()),
                "bought": y[on].mean(),
                "without": expit(without[on]).mean(),
                "stated": stated,
                "measured": b,
                "low": b - 1.96 / np.sqrt(information),
                "high": b + 1.96 / np.sqrt(information),
            }
        )
    return found


def profiles(ds, rows: pd.DataFrame, vectors: np.ndarray) -> np.ndarray:
    """For each user the sum over the rows of (bought - mean) times the item's vector, [users, width]."""
    weight = rows["label"].to_numpy(float) - rows["label"].mean()
    return sparse.csr_array((weight, positions(ds, rows)), (len(ds.users), len(ds.items))) @ vectors


def scores(ds, rows: pd.DataFrame, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Dot product of user and item of each row."""
    u, i = positions(ds, rows)
    return np.einsum("nd,nd->n", users[u], items[i])


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1; a row of zeros stays."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def one_hot(tags: pd.Series) -> np.ndarray:
    """One column for each tag."""
    return unit(MultiLabelBinarizer().fit_transform(tags).astype(float))


def warm_ladder(seed: int, encoder) -> dict[str, intervals.Statistic]:
    """AUC on rows of warm items: random split of the rows, 80 % fit, 10 % combine, 10 % test."""
    ds = shop.resimulated(seed)
    log, warm = ds.interactions.assign(p=ds.optimum), ~cold_rows(ds)
    split = klm.split(ds, "random", seed=seed)
    train, valid, test = (log.loc[f.index[warm[f.index]]] for f in (split.train, split.valid, split.test))

    shown, bought = (
        np.bincount(positions(ds, f)[1], minlength=len(ds.items)) for f in (train, train[train.label == 1])
    )
    base = logit((bought + 20 * train.label.mean()) / (shown + 20))
    warm_items = (ds.items["launched"] == START).to_numpy()
    text = encoder.encode([f"{row.title}。{'、'.join(row.tags)}" for row in ds.items.itertuples()])
    content = {"popularity + tags": one_hot(ds.items["tags"]), "popularity + e5": unit(text - text[warm_items].mean(0))}

    found = {"popularity (share bought)": base[positions(ds, test)[1]]}
    for name, vectors in content.items():
        users = unit(profiles(ds, train, vectors))
        x, x_test = (np.column_stack([base[positions(ds, f)[1]], scores(ds, f, users, vectors)]) for f in (valid, test))
        found[name] = LogisticRegression(C=1e3).fit(x, valid.label).decision_function(x_test)
    x = true_factors(ds, seed)
    model = LogisticRegression(C=1.0, max_iter=2000).fit(x[train.index], train.label)
    found["well-specified"] = model.decision_function(x[test.index])
    found["true probabilities"] = test.p
    users, y = test.user_id.to_numpy(), test.label.to_numpy(float)
    return {name: intervals.pooled_auc(users, y, np.asarray(s, float)) for name, s in found.items()}


def true_factors(ds, seed: int) -> sparse.csr_array:
    """The form of the truth with every coefficient unknown: one number per item, match of topics, profile effects by
    category, price by city tier, the three rules; sparse [rows, features]."""
    u, i = positions(ds, ds.interactions)
    users, items = shop.draw_users(table("latent_interests"), seed), table("latent_items")
    about = [dict(pair.split(":") for pair in text.split("|")) for text in items["topics"]]
    match = [min(sum(float(about[b].get(t, 0)) for t in users["topics"][a]), 1) for a, b in zip(u, i, strict=True)]
    woman, age, tier = (users["gender"] == "female").to_numpy(float), users["age"].to_numpy(), users["city_tier"]
    category = pd.Index(list(PROFILE)).get_indexer(items["category"])[i]
    known = np.flatnonzero(category >= 0)
    shape, at = (len(u), len(PROFILE)), (known, category[known])
    dense = np.column_stack([match, tier.to_numpy()[u] * items["price_z"].to_numpy()[i], flags(ds, seed)])
    return sparse.hstack(
        [
            sparse.csr_array((np.ones(len(i)), (np.arange(len(i)), i)), (len(u), len(items))),
            sparse.csr_array((woman[u][known], at), shape),
            sparse.csr_array(((age[u][known] - 40) / 10, at), shape),
            sparse.csr_array(dense),
        ],
        format="csr",
    )


def cold_tags(seed: int, encoders: dict) -> dict[str, intervals.Statistic]:
    """Mean AUC of a user among the rows of items with tags that nobody met before; nothing is trained on those items.

    one-hot, TF-IDF: the user is what he bought in the first 50 days. Language models: his interests against the tags,
    each centred on texts that are known on day 50 (interests of the users, tags of the warm items).
    """
    ds = shop.resimulated(seed)
    log = ds.interactions
    rows, warm = log[cold_rows(ds)], (ds.items["launched"] == START).to_numpy()
    train = log[log["timestamp"] < START + NEW_AFTER * DAY]
    met = rows[rows["user_id"].isin(train["user_id"])]
    y, p = rows["label"].to_numpy(float), ds.optimum[rows.index]
    found = {"true probabilities": intervals.user_auc(rows["user_id"].to_numpy(), y, p)}

    def add(name: str, part: pd.DataFrame, users: np.ndarray, items: np.ndarray) -> None:
        s = np.round(scores(ds, part, users, items), 9)  # equal but for rounding is equal
        found[name] = intervals.user_auc(part["user_id"].to_numpy(), part["label"].to_numpy(float), s)

    users = shop.draw_users(table("latent_interests"), seed)
    tags = one_hot(ds.items["tags"])
    add("tags one-hot", met, profiles(ds, train, tags), tags)
    for language, comma in (("zh", "、"), ("en", ", ")):
        texts = table("items")[f"tags_{language}"].str.replace("|", comma).to_numpy()
        grams = (1, 3) if language == "zh" else (3, 5)
        tfidf = TfidfVectorizer(analyzer="char", ngram_range=grams).fit(texts[warm]).transform(texts).toarray()
        add(f"tags TF-IDF of characters, {language}", met, profiles(ds, train, tfidf), tfidf)
        interests = users[f"interests_{language}"].str.replace("|", comma).tolist()
        for name, encoder in encoders.items():
            items, people = encoder.encode(texts.tolist()), encoder.encode(interests)
            items, people = unit(items - items[warm].mean(0)), unit(people - people.mean(0))
            add(f"{name}, {language}", rows, people, items)
    return found


def translations(encoder) -> float:
    """How often the Chinese and the English description of an item are each other's nearest among all, both centred."""
    zh, en = (unit(v - v.mean(0)) for v in (encoder.encode(table("items")[f"description_{n}"]) for n in ("zh", "en")))
    nearest, back = (zh @ en.T).argmax(1), (en @ zh.T).argmax(1)
    return float((back[nearest] == np.arange(len(zh))).mean())


def pooled(parts: list[dict]) -> dict[str, intervals.Statistic]:
    """Each row averaged over the seeds."""
    return {name: intervals.average([part[name] for part in parts]) for name in parts[0]}


def report(seeds: int = 3) -> list[str]:
    """The tables of the card, as lines of markdown."""
    ds = shop.load()
    lines = ["| ceiling on the shipped rows | |", "|---|---|"]
    lines += [
        f"| {name} | {value:,.0f} |" if value > 1 else f"| {name} | {value:.3f} |"
        for name, value in ceilings(ds).items()
    ]
    lines += ["", "| rule | rows | bought | without it | log-odds stated | measured |", "|---|---|---|---|---|---|"]
    row = "| {rule} | {rows:,} | {bought:.1%} | {without:.1%} | {stated} | {measured:.2f} [{low:.2f}, {high:.2f}] |"
    lines += [row.format(**strength) for strength in rule_strengths(ds, 0)]
    encoders = {name: klm.TextEncoder.from_pretrained(name) for name in ("e5", "minilm")}
    for title, parts in (
        ("AUC, warm items", [warm_ladder(seed, encoders["e5"]) for seed in range(seeds)]),
        ("mean AUC of a user, cold tags", [cold_tags(seed, encoders) for seed in range(seeds)]),
    ):
        lines += ["", f"| {title} | |", "|---|---|"]
        for name, stat in pooled(parts).items():
            low, high = intervals.interval(stat)
            lines.append(f"| {name} | {stat.estimate():.3f} [{low:.3f}, {high:.3f}] |")
    lines += ["", "| zh and en find each other | |", "|---|---|"]
    return lines + [f"| {name} | {translations(encoder):.1%} |" for name, encoder in encoders.items()]


if __name__ == "__main__":
    print("\n".join(report(*map(int, sys.argv[1:]))))
