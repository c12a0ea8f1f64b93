"""What notebook 04 tries losses on: trainings of equally many steps, their lists and their probabilities."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import ceil
from typing import cast

import numpy as np
import pandas as pd
import torch

from klm_utils import losses
from klm_utils.data.schema import title_text
from klm_utils.data.splits import Split
from klm_utils.embedding.encoder import TextEncoder
from klm_utils.errors import check_choice
from klm_utils.evaluation import experiment, metrics
from klm_utils.evaluation.ranking import rank
from klm_utils.models.baselines import Popularity
from klm_utils.models.recommender import KLMRecommender
from klm_utils.training import objectives
from klm_utils.training.config import TrainConfig
from klm_utils.training.loop import fit

Tensor = torch.Tensor
DECAY = {"ids": 40.0, "maps": 3.0, "biases": 0.05, "constant": 0.0}


def knowing_only(split: Split, what: str) -> Split:
    """The same split whose stars in train know no more than the label does.

    what: "0 or 1", the label itself; "two means", the mean of the liked or of the others, so that the numbers keep
        the range of stars.
    """
    check_choice("what", what, ("0 or 1", "two means"))
    train = split.train
    means = train.groupby("label")["rating"].transform("mean")
    return replace(split, train=train.assign(rating=train["label"].astype(float) if what == "0 or 1" else means))


def aims(split: Split) -> pd.DataFrame:
    """What squared error on stars and on both controls wants to predict: a row per number of stars."""
    wanted = {"stars": split, "two means": knowing_only(split, "two means"), "0 or 1": knowing_only(split, "0 or 1")}
    stars = split.train["rating"].astype(int)
    return pd.DataFrame({name: own.train.groupby(stars)["rating"].mean() for name, own in wanted.items()})


def compare_losses(
    objective: str,
    settings: Mapping[str, Mapping],
    splits: Mapping[int, Split],
    encoder: TextEncoder,
    steps: int | Mapping[str, int],
    draws: int,
) -> tuple[experiment.Runs, pd.Series]:
    """One model, trained with each setting for about equally many steps, then measured.

    Args:
        settings: name -> options of `TrainConfig`, and "knowing": what of `knowing_only` the stars of train are.
        steps: of the optimiser, at most (patience is 5 epochs); a mapping gives some names their own.

    Returns:
        the runs, and the steps that were taken, by name (of the last split).
    """
    taken: dict[str, int] = {}

    def variant(name: str, setting: Mapping) -> experiment.Build:
        options = {key: value for key, value in setting.items() if key != "knowing"}
        wanted = steps[name] if isinstance(steps, Mapping) else steps

        def build(split: Split, seed: int) -> KLMRecommender:
            model = KLMRecommender.from_split(split, encoder=encoder, seed=seed)
            read = knowing_only(split, setting["knowing"]) if "knowing" in setting else split
            config = TrainConfig(objective, patience=5, seed=seed, **options)
            task = objectives.task(model, split, config.of("frozen", split))
            each = ceil(task.n / task.batch)
            history = fit(model, read, replace(config, epochs=max(1, round(wanted / each))))
            taken[name] = each * len(history.epochs)
            return model

        return build

    variants = {name: variant(name, setting) for name, setting in settings.items()}
    return experiment.run(variants, splits, n_boot=draws), pd.Series(taken, name="steps")


def list_popularity(runs: experiment.Runs, name: str) -> float:
    """Median number of ratings in train of the ten films of all users' lists, by the last model of this variant."""
    split = list(runs.splits.values())[-1]
    found = rank(runs.models[name], split)
    count = split.train["item_id"].value_counts().reindex(found.candidates, fill_value=0).to_numpy()
    return float(np.median(count[found.top[found.top >= 0]]))


class Repaired:
    """A fitted model of choices to whose scores log q is added; q is a film's share of the choices of train.

    A film that nobody chose there counts as half a choice.
    """

    objective = "interaction"

    def __init__(self, model: KLMRecommender, split: Split):
        count = split.train["item_id"].value_counts().reindex(split.dataset.items.index, fill_value=0)
        self.model, self.name = model, f"{model.name} + log q"
        self.log_q = np.log(count.clip(lower=0.5) / len(split.train))

    def predict(self, user_ids, item_ids) -> np.ndarray:
        """Scores, [n]: for the order only."""
        return self.model.scores(user_ids, item_ids) + self.log_q.loc[item_ids].to_numpy()


def repaired(runs: experiment.Runs, name: str) -> dict[str, float]:
    """nDCG@10 on the last split: of this variant, of the same model with log q added, of the most popular films."""
    at, split = list(runs.splits.items())[-1]
    model = cast(KLMRecommender, runs.models[name])
    variants: dict[str, experiment.Build] = {
        name: lambda split, seed: model,
        "the same model, log q added": lambda split, seed: Repaired(model, split),
        "most popular": lambda split, seed: Popularity().fit(split),
    }
    found = experiment.run(variants, {at: split}, n_boot=1)
    return {own: float(found.values("ndcg@10")[own].iloc[0]) for own in found.variants}


def top_films(runs: experiment.Runs, names: Sequence[str], user, k: int = 10) -> dict[str, list[tuple[str, int]]]:
    """{name: (title, ratings in train) of the k best new films for this user}, of the last model of each variant."""
    split = list(runs.splits.values())[-1]
    films, count = split.dataset.items, split.train["item_id"].value_counts()
    seen = set(split.train.loc[split.train["user_id"] == user, "item_id"])
    found = {}
    for name in names:
        model = cast(KLMRecommender, runs.models[name])
        scores = pd.Series(model.scores([user] * len(films), films.index), index=films.index)
        best = scores.drop(list(seen)).sort_values(ascending=False, kind="stable").index[:k]
        found[name] = [(title_text(films.at[i, "title"]), int(count.get(i, 0))) for i in best]
    return found


def drawn_gradients(
    counts: Mapping[str, int], corrected: Callable, rows: int, seed: int, drawn: int = 50
) -> pd.DataFrame:
    """Gradient of the softmax in each film's score, for a model that is right: each score is the log of the count.

    Args:
        counts: title -> how often a film is chosen; it is drawn as often.
        corrected: (z [n, 1 + m], count [n, 1 + m]) -> loss of each row, as in exercise 4.6.
        rows: choices. drawn: films beside the chosen one.

    Returns:
        a row per film; columns "all films", "drawn films", "drawn films, corrected".
    """
    count = torch.tensor(list(counts.values()), dtype=torch.float64)
    draw = torch.Generator().manual_seed(seed)
    chosen = count.multinomial(rows, replacement=True, generator=draw)
    others = count.multinomial(drawn * rows, replacement=True, generator=draw).view(rows, drawn)
    shown = torch.cat([chosen[:, None], others], 1)
    ways = {
        "all films": lambda z: losses.cross_entropy(z.expand(rows, -1), chosen),
        "drawn films": lambda z: losses.sampled_softmax(z[shown]),
        "drawn films, corrected": lambda z: corrected(z[shown], count[shown]).mean(),
    }
    found = {}
    for name, loss in ways.items():
        z = count.log().requires_grad_()
        (found[name],) = torch.autograd.grad(loss(z), z)
    titles = [f"{title}, {number}" for title, number in counts.items()]
    return pd.DataFrame({name: slope.numpy() for name, slope in found.items()}, index=titles)


def learn(split: Split, rows: pd.DataFrame, seed: int, steps: int) -> KLMRecommender:
    """A training loop as short as it gets: BCE of these rows of train, so many steps, without calibration."""
    model = KLMRecommender.from_split(split, seed=seed)
    u, i = model.positions(rows["user_id"], rows["item_id"])
    y, draw = torch.tensor(rows["label"].to_numpy(), dtype=torch.float32), torch.Generator().manual_seed(seed)
    groups = [{"params": p, "weight_decay": DECAY[name]} for name, p in model.fusion.groups().items()]
    optimizer = torch.optim.AdamW(groups, lr=0.01)
    model.fusion.constant.data.fill_(y.mean().logit())
    while True:
        for at in torch.randperm(len(y), generator=draw).split(4096):
            if steps == 0:
                return model
            optimizer.zero_grad()
            losses.bce_with_logits(model.fusion(u[at], i[at]), y[at]).backward()
            optimizer.step()
            steps -= 1


def on_a_sample(split: Split, share: float, seed: int, epochs: int = 8) -> dict[str, np.ndarray]:
    """Logits of the rows of test by three models: of all rows of train, of all with as few steps as the sample has, and
    of the sample, which is all positives and this share of the negatives."""
    train, luck = split.train, np.random.default_rng(seed).random(len(split.train))
    sample = train[(train["label"] == 1) | (luck < share)]
    few, many = (epochs * ceil(len(rows) / 4096) for rows in (sample, train))
    runs = {"all rows": (train, many), "all rows, few steps": (train, few), "sample": (sample, few)}
    models = {name: learn(split, rows, seed, steps) for name, (rows, steps) in runs.items()}
    test = split.test
    return {name: model.scores(test["user_id"], test["item_id"]) for name, model in models.items()}


def tenths(p: np.ndarray, truth: np.ndarray) -> pd.DataFrame:
    """Means of p and truth in ten groups of rows, by p."""
    groups = pd.qcut(p, 10, labels=False, duplicates="drop")
    return pd.DataFrame({"p": p, "truth": truth}).groupby(groups).mean()


def over_users(stored: Mapping[str, Mapping], metrics: Mapping[str, str], names: Sequence[str]) -> dict[str, list]:
    """{"name, heading": [difference, low, high]} of a stored run, the interval for other users and the same films.

    metrics: key of `stored` -> heading, "" for none.
    """
    return {
        f"{name}{', ' * bool(heading)}{heading}": list(stored[metric][name][:3])
        for name in names
        for metric, heading in metrics.items()
    }


def summary(runs: experiment.Runs, taken: pd.Series, base: str, names: Mapping[str, str]) -> pd.DataFrame:
    """Steps, and of each metric the value of `base` and what the others have over it, with intervals for other users.

    names: metric -> heading.
    """
    table = pd.DataFrame({"steps": taken.reindex(runs.variants)})
    for metric, heading in names.items():
        found = runs.table(base, metric)
        ends = zip(found[metric], *(found[f"minus {name}"] for name in (base, "low", "high")), strict=True)
        table[heading] = [
            f"{value:.3f}" if np.isnan(minus) else f"{minus:+.3f} [{low:+.3f}, {high:+.3f}]"
            for value, minus, low, high in ends
        ]
    return table


def calibrated(said: Mapping[str, np.ndarray], label: np.ndarray, truth: np.ndarray) -> pd.DataFrame:
    """A row per model: mean probability, ECE, mean distance to the true probabilities, AUC."""
    rows = {}
    for name, p in said.items():
        off = float(np.abs(p - truth).mean())
        rows[name] = (float(p.mean()), metrics.ece(label, p), off, metrics.auc(label, p))
    return pd.DataFrame(rows, index=["mean p", "ECE", "off the truth", "AUC"]).T
