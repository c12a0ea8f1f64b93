"""What notebook 04 tries losses and gradients on: small worlds, and trainings of equally many steps."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import ceil
from types import SimpleNamespace
from typing import cast

import numpy as np
import pandas as pd
import sympy as sp  # type: ignore[import-untyped]
import torch
from torch.nn import functional as F

from klm_utils import losses
from klm_utils.data.schema import title_text
from klm_utils.data.splits import Split
from klm_utils.embedding import masked_mean
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
BOUGHT = {"篮球": 0.02, "电影": 0.06, "科技": 0.13, "age / 100": 0.25}  # the reader's example, rounded, see `cosines`
TEXTS = [
    "toy story animation comedy",
    "the godfather crime drama",
    "star wars action romance adventure",
    "fargo crime drama",
    "pulp fiction crime drama",
    "toy story animation comedy",
]
DECAY = {"ids": 40.0, "maps": 3.0, "biases": 0.05, "constant": 0.0}


def cosines(encoder: TextEncoder, thing: str, words: Sequence[str], corpus: Sequence[str]) -> list[float]:
    """How near a thing is to each word, after centring on the mean of a corpus of texts."""
    first, *others = encoder.encode([thing, *words]) - encoder.encode(list(corpus)).mean(0)
    return [float(first @ other / np.linalg.norm(first) / np.linalg.norm(other)) for other in others]


def proved(line: str, left: sp.Expr, right: sp.Expr, at: Mapping[sp.Symbol, float]) -> None:
    """Print whether both sides are equal for all values (sympy brings left - right to 0), and the left one at a point.

    Logarithms are taken apart as if their arguments were positive, which p and 1 - p are.
    """
    holds = sp.simplify(sp.expand_log(left - right, force=True)) == 0
    here = f"{float(left.subs(at)):.3g}"
    print(f"{line:34} {'proved' if holds else 'WRONG: the two sides differ'}; here it is {here}")


def as_printed(z: Tensor, y: Tensor) -> Tensor:
    """The cross-entropy of each row as a book prints it: through p, which rounds to 0 or 1."""
    p = torch.sigmoid(z)
    return -(y * p.log() + (1 - y) * (1 - p).log())


def buyers(seed: int, rows: int = 40, columns: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    """(x [rows, columns], w [columns], y [rows]) of a shop that is drawn, float64; y follows sigmoid(x w)."""
    draw = torch.Generator().manual_seed(seed)
    x, w = (torch.randn(size, generator=draw, dtype=torch.float64) for size in ((rows, columns), (columns,)))
    y = (torch.rand(rows, generator=draw) < torch.sigmoid(x @ w)).double()
    return x, w, y


def difference_errors(z: float = 0.8) -> pd.DataFrame:
    """Relative error of central differences of log(1 + exp(-z)), a row per step h, a column per precision."""
    steps, found = np.logspace(-12, 0, 25), {}
    true = float(torch.sigmoid(torch.tensor(z, dtype=torch.float64))) - 1
    for dtype in (torch.float32, torch.float64):
        at = torch.tensor([[z + sign * h for sign in (1, -1)] for h in steps], dtype=dtype)
        value, width = -F.logsigmoid(at), at[:, 0] - at[:, 1]
        slope = torch.where(width == 0, torch.zeros_like(width), (value[:, 0] - value[:, 1]) / width)
        found[str(dtype).removeprefix("torch.")] = (slope.double() / true - 1).abs().numpy()
    return pd.DataFrame(found, index=steps)


def in_precisions(ways: Mapping[str, Callable[[Tensor, Tensor], Tensor]]) -> pd.DataFrame:
    """Loss and slope of each way to write the loss, in four precisions, at four places; `true` is the loss itself."""
    rows = []
    for way, loss in ways.items():
        for name in ("float64", "float32", "bfloat16", "float16"):
            for z, y in ((12.0, 0.0), (20.0, 0.0), (200.0, 0.0), (-120.0, 1.0)):
                at = torch.tensor([z], dtype=getattr(torch, name), requires_grad=True)
                value = loss(at, torch.full_like(at, y).detach())
                (slope,) = torch.autograd.grad(value.sum(), at, allow_unused=True)
                slope = torch.zeros(1) if slope is None else slope
                true = float(np.logaddexp(0, z) - y * z)
                rows.append((way, name, f"z = {z:.0f}, y = {y:.0f}", value.item(), slope.item(), true))
    return pd.DataFrame(rows, columns=["way", "precision", "place", "loss", "slope", "true"])


def tiny_recommender(seed: int) -> SimpleNamespace:
    """A recommender with a BERT of two layers and random weights, in float64, and six rows of films for it.

    Returns:
        words [6 lists], ids and mask [6, t], items, users, y [6]; heads; params: {name: tensor}, as
        `backward.recommender` wants them; forward(): autograd's way, {stop: tensor}, the loss last, with gradients
        that can be read after backward().
    """
    from transformers import BertConfig, BertModel

    words = [text.split() for text in TEXTS]
    number = {word: k + 1 for k, word in enumerate(dict.fromkeys(w for text in words for w in text))}
    ids = torch.zeros(len(words), max(map(len, words)), dtype=torch.long)
    for row, text in enumerate(words):
        ids[row, : len(text)] = torch.tensor([number[word] for word in text])
    shape = {"projection.weight": (4, 8), "projection.bias": (4,), "gate.weight": (4, 8), "gate.bias": (4,)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = BertConfig(
            vocab_size=30, max_position_embeddings=12, initializer_range=0.5, hidden_size=8, num_hidden_layers=2,
            num_attention_heads=2, intermediate_size=16,
        )  # fmt: skip
        bert = BertModel(config, add_pooling_layer=False).double().eval()
        params = dict(bert.named_parameters())
        for name, size in (shape | {"items": (5, 4), "users": (3, 4)}).items():
            params[name] = (0.5 * torch.randn(size)).double().requires_grad_()
    tiny = SimpleNamespace(words=words, ids=ids, mask=(ids > 0).long(), params=params, heads=2)
    tiny.items, tiny.users = torch.tensor([0, 1, 2, 3, 4, 0]), torch.tensor([0, 1, 2, 0, 1, 1])
    tiny.y = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0, 1.0]).double()
    tiny.forward = lambda: _stops(bert, tiny)
    return tiny


def _stops(bert: torch.nn.Module, tiny: SimpleNamespace) -> dict[str, Tensor]:
    p = tiny.params
    token = F.embedding(tiny.ids, p["embeddings.word_embeddings.weight"])
    hidden = bert(inputs_embeds=token, attention_mask=tiny.mask).last_hidden_state
    mean = masked_mean(hidden, tiny.mask)
    text = F.linear(mean, p["projection.weight"], p["projection.bias"])
    item = p["items"][tiny.items]
    gate = torch.sigmoid(F.linear(torch.cat([item, text], -1), p["gate.weight"], p["gate.bias"]))
    fused = gate * item + (1 - gate) * text
    z = (p["users"][tiny.users] * fused).sum(-1)
    stops = {"word": token, "BERT": hidden, "mean": mean, "text": text, "gate": gate, "fused": fused}
    stops |= {"z": z, "p": torch.sigmoid(z)}
    for stop in stops.values():
        stop.retain_grad()
    stops["loss"] = -(tiny.y * stops["p"].log() + (1 - tiny.y) * (1 - stops["p"]).log()).mean()
    return stops


def one_row(stops: Mapping[str, Tensor], row: int, names: Mapping[str, str]) -> list[tuple[str, float, float]]:
    """(name, value, gradient) of the first number of a row at each stop, for `gradient_pictures.chain`."""
    found = []
    for stop, name in names.items():
        value = stops[stop]
        if stop == "loss":
            found.append((name, value.item(), 1.0))
        elif (slope := value.grad) is not None:
            at = (row, *[0] * (value.ndim - 1))
            found.append((name, value[at].item(), slope[at].item()))
    return found


def loss_cases(seed: int) -> dict[str, tuple[Callable, Callable, tuple]]:
    """{name: (loss, its gradient by hand, arguments)} of the eight losses, on six rows that are drawn."""
    draw = torch.Generator().manual_seed(seed)
    z, other = (torch.randn(6, generator=draw, dtype=torch.float64) for _ in range(2))
    square = torch.randn(6, 6, generator=draw, dtype=torch.float64)
    grade, films = torch.randint(5, (6,), generator=draw), torch.tensor([7, 8, 7, 9, 3, 8])
    tau = torch.tensor([-2.0, -0.5, 0.1, 3.0]).double()
    log_q = torch.randn(6, generator=draw, dtype=torch.float64)
    given = {
        "bce_with_logits": (z, (grade > 2).double()),
        "bce_with_logits, many labels": (square, (square.roll(1) > 0).double()),
        "squared_error": (z, grade.double()),
        "ordinal": (z, grade, tau),
        "bpr": (z, other),
        "cross_entropy": (square, grade),
        "sampled_softmax": (square, log_q),
        "info_nce": (square, log_q),
    }
    cases = {}
    for name, arguments in given.items():
        both = (getattr(losses, name.split(",")[0] + end) for end in ("", "_grad"))
        more = {"items": films} if name == "info_nce" else {}
        loss, grad = ((lambda *a, f=f, more=more: f(*a, **more)) for f in both)
        cases[name] = (loss, grad, arguments)
    return cases


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


def descend(start: tuple[float, float], steps: int = 300, rate: float = 0.5, share: float = 0.8) -> np.ndarray:
    """Gradient descent on the loss of z = a b, where a share of the labels is 1; the points, [steps + 1, 2]."""
    path = [torch.tensor(start, dtype=torch.float64)]
    for _ in range(steps):
        point = path[-1].clone().requires_grad_()
        z = point[0] * point[1]
        loss = losses.bce_with_logits(z[None], torch.full((1,), share, dtype=torch.float64))
        (slope,) = torch.autograd.grad(loss, point)
        path.append((point - rate * slope).detach())
    return torch.stack(path).numpy()


def one_output(seed: int) -> dict[str, float]:
    """Loss that transformers' classifier with one output computes, beside squared error and BCE of that output."""
    from transformers import BertConfig, BertForSequenceClassification

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = BertConfig(
            vocab_size=30, max_position_embeddings=12, initializer_range=0.5, hidden_size=8, num_hidden_layers=2,
            num_attention_heads=2, intermediate_size=16,
        )  # fmt: skip
        config.num_labels = 1
        classifier, y = BertForSequenceClassification(config).eval(), torch.tensor([1.0, 0.0, 0.0, 1.0])
        with torch.no_grad():
            out = classifier(input_ids=torch.randint(1, 30, (4, 6)), labels=y)
    z = out.logits[:, 0]
    own = {"the classifier's loss": out.loss, "squared error": F.mse_loss(z, y), "BCE": losses.bce_with_logits(z, y)}
    return {name: value.item() for name, value in own.items()}


def new_head(always_one: bool, rate: float, seed: int, steps: int = 200, times: int = 20) -> dict[str, float]:
    """A new linear head trained by AdamW on drawn data, `times` over; means but for `moved` and the ends of AUC.

    Args:
        always_one: train on the label 1 alone. rate: the learning rate.

    Returns:
        loss before and after, the largest move of any weight, the bias after it, and the mean, least and largest AUC on
        the true labels.
    """
    draw, rows = torch.Generator().manual_seed(seed), []
    for _ in range(times):
        x, w = torch.randn(1000, 8, generator=draw), 0.1 * torch.randn(8, generator=draw)
        truly = (torch.rand(1000, generator=draw) < torch.sigmoid(2 * x[:, 0] - x[:, 1])).float()
        y, start, bias = torch.ones(1000) if always_one else truly, w.clone(), torch.zeros((), requires_grad=True)
        optimizer, seen = torch.optim.AdamW([w.requires_grad_(), bias], rate), []
        for _ in range(steps):
            loss = losses.bce_with_logits(x @ w + bias, y)
            seen.append(loss.item())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        scores = (x @ w).detach().numpy()
        moves = (w - start).abs().max().item()
        rows.append((seen[0], seen[-1], moves, bias.item(), metrics.auc(truly.numpy(), scores)))
    first, last, moved, biases, auc = np.array(rows).T
    found = {"loss before": first.mean(), "loss after": last.mean(), "moved": moved.max(), "bias": biases.mean()}
    found["AUC"] = auc.mean()
    return {name: float(value) for name, value in (found | {"least AUC": auc.min(), "largest AUC": auc.max()}).items()}


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
