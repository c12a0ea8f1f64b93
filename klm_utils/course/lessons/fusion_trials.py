"""Notebook 03: the same splits and the same training for each way of fusing, and what is measured of them."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from scipy import stats

from klm_utils.data import load_dataset, shop
from klm_utils.data.schema import RecDataset
from klm_utils.data.splits import Split, split
from klm_utils.embedding.backbones import load_backbone, trim_vocabulary
from klm_utils.embedding.encoder import TextEncoder
from klm_utils.evaluation import experiment, intervals, metrics
from klm_utils.evaluation.experiment import Rows, Runs
from klm_utils.fusion import FUSIONS, LAYERS, Inputs, LayerFusion
from klm_utils.knowledge import graph
from klm_utils.knowledge.controls import others
from klm_utils.knowledge.templates import facts_text, item_texts, user_text
from klm_utils.models.recommender import KLMRecommender
from klm_utils.training.config import PRESETS, TrainConfig
from klm_utils.training.loop import fit

SHOP: dict[str, Any] = {"decay_ids": 10.0, "decay_maps": 1.0}  # picked for `dot` on valid, with users of other seeds
INPUTS = {
    "item id": ["item_ids", "item_bias"],
    "item text": ["text"],
    "item tags": ["item_features"],
    "user id": ["user_ids", "user_bias"],
    "profile": ["user_features"],
    "history": ["history"],
}
FREEBASE = [f"film.film.{name}" for name in ("genre", "directed_by", "country", "language", "rating")]
HISTORIES: dict[str, dict[str, Any]] = {
    "none": {"fusion": "hadamard", "past": 0},
    "mean of 10": {"fusion": "hadamard"},
    "recency, .7": {"fusion": "hadamard", "recency": 0.7},
    "target attention": {"fusion": "target"},
}
PASTS = {  # rows of the full-scale run, and what they are called in the picture
    "mean of 10": "hadamard: mean of ten",
    "recency, .7": "hadamard: recency, r = .7",
    "target attention": "target attention",
    "dot, all": "dot: all films shown",
}
TABLES = {
    "movielens-100k, random": "films, known",
    "movielens-100k, cold_item": "films, new",
    "shop, random": "shop, known",
    "shop, cold_item": "shop, new",
}
KINDS = {name: {"knowledge": name} for name in ("absent", "shuffled", "random", "true")}
WAYS: dict[str, dict[str, Any]] = {name: {"fusion": name} for name in LAYERS} | {"dot": {}}

Options = Mapping[str, Any] | Callable[[RecDataset, int], Mapping[str, Any]]


def encoders() -> dict[str, TextEncoder]:
    """MiniLM for the English films; for the Chinese shop e5 with the tokens that its words need."""
    films = TextEncoder.from_pretrained("minilm")
    ds = load_dataset("shop")
    words = [*item_texts(ds), *map(facts_text, graph.facts(ds)), *map(user_text, ds.users.to_dict("records"))]
    tokenizer, e5 = load_backbone("e5")
    things = TextEncoder(*trim_vocabulary(e5, tokenizer, words), "e5")
    return {"movielens-100k": films, "movielens-100k-mislinked": films, "shop": things}


@dataclass(frozen=True, eq=False)
class Trials:
    """One budget for every way of fusing: `epochs` at most, `patience` without a better value on valid.

    seeds: of the shop's users, the splits (of new items: the folds) and the start values. draws: of the bootstrap.
    """

    encoders: Mapping[str, TextEncoder]
    epochs: int
    patience: int
    seeds: Sequence[int]
    draws: int
    _data: dict = field(default_factory=dict, repr=False)
    _trained: dict[Hashable, tuple] = field(default_factory=dict, repr=False)

    def data(self, name: str, seed: int) -> RecDataset:
        """The shop with the users of this seed, or MovieLens, which is one."""
        key = (name, seed if name == "shop" else 0)
        if key not in self._data:
            one = replace(shop.resimulated(seed), name="shop") if name == "shop" else load_dataset(name)
            self._data[key] = one
        return self._data[key]

    def cut(self, ds: RecDataset, kind: str, number: int, shown: int = 0) -> Split:
        """The split of this seed; of new items fold `number` of ten, so that no item is new twice."""
        way = {"fold": number} if kind == "cold_item" else {"seed": number, "shown": shown}
        return split(ds, kind, **way)

    def train(
        self,
        ds: RecDataset,
        kind: str,
        seed: int,
        shown: int = 0,
        change: Callable | None = None,
        decay: float = 1.0,
        **options,
    ):
        """A trained model and its history, trained once.

        change: is done to the model before training. decay: how many times the weight decay of the others.
        """
        key = (ds, kind, seed, shown, change, decay, tuple(options.items()))
        if key not in self._trained:
            cut = self.cut(ds, kind, seed, shown)
            model = KLMRecommender.from_split(cut, encoder=self.encoders[ds.name], seed=seed, **options)
            if change:
                change(model)
            dropout = 0.2 if kind in ("cold_item", "temporal") else 0.0  # where items are new
            own: dict[str, Any] = dict(SHOP) if ds.name == "shop" else {name: PRESETS["label"][name] for name in SHOP}
            own = {name: strength * decay for name, strength in own.items()} | {"id_dropout": dropout, "seed": seed}
            config = TrainConfig(epochs=self.epochs, patience=self.patience, **own)
            self._trained[key] = model, fit(model, cut, config)
        return self._trained[key]

    def measure(self, name: str, kind: str, rows: Mapping[str, Options], seeds: Sequence[int] | None = None, **common):
        """The runs of all rows. A row is the options of `train`, or a function of data set and seed that gives them."""

        def variant(options: Options) -> Callable[[Split, int], KLMRecommender]:
            def build(cut: Split, seed: int) -> KLMRecommender:
                own = options(cut.dataset, seed) if callable(options) else options
                given: dict[str, Any] = {"ds": cut.dataset, "kind": kind, "seed": seed} | common | dict(own)
                return self.train(**given)[0]

            return build

        numbers = self.seeds if seeds is None else seeds
        splits = {s: self.cut(self.data(name, s), kind, s, common.get("shown", 0)) for s in numbers}
        return experiment.run({label: variant(row) for label, row in rows.items()}, splits, n_boot=self.draws)

    def ceiling(self, runs: Runs) -> float:
        """AUC of the true probabilities on the test rows of these runs, mean over the splits; simulated data only."""
        found = []
        for number in runs.splits:
            cut = runs.splits[number]
            truth: Any = cut.dataset.optimum
            found.append(metrics.auc(cut.test["label"], truth[cut.test.index]))
        return float(np.mean(found))

    def on_valid(self, tables: Mapping[str, Runs], layers: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
        """For each layer AUC on valid and seconds of an epoch, means over the tables; nothing is trained again."""
        found: dict[str, list] = {label: [] for label in layers}
        for setting in tables:
            name, kind = setting.split(", ")
            for label, options in layers.items():
                for seed in self.seeds:
                    found[label].append(self.train(self.data(name, seed), kind, seed, **options)[1].epochs)
        rows = {
            label: (np.mean([e["valid"].max() for e in of]), np.mean([e["seconds"].mean() for e in of]))
            for label, of in found.items()
        }
        return pd.DataFrame(rows, index=["valid", "seconds"]).T


class OwnGate(torch.nn.Module):
    """`Gate` with the reader's function: mixed = fn(id, text + tags, weight [d, 2d], bias [d])."""

    def __init__(self, width: int, hidden: int = 32, *, fn: Callable):
        super().__init__()
        self.gate, self.fn = torch.nn.Linear(2 * width, width), fn

    def forward(self, x: Inputs) -> torch.Tensor:
        mixed = self.fn(x.item, x.text + x.tag_mean, self.gate.weight, self.gate.bias)
        return ((x.user + x.past_mean) * mixed).sum(-1)


class Product(torch.nn.Module):
    """The score of `dot` in the tables of a layer, which hold the last films of a history and not all of it."""

    def __init__(self, width: int, hidden: int = 32):
        super().__init__()

    def forward(self, x: Inputs) -> torch.Tensor:
        past = (x.past_mask[:, None, :] @ x.past)[:, 0] * x.past_mask.sum(1, keepdim=True).clamp_min(1).rsqrt()
        return ((x.user + past) * (x.item + x.text + (x.tag_mask[:, None, :] @ x.tags)[:, 0])).sum(-1)


@contextmanager
def added(name: str, layer: Any):
    """A further fusion, for as long as this lasts."""
    LAYERS[name], FUSIONS[name] = layer, partial(LayerFusion, layer=name)
    try:
        yield
    finally:
        del LAYERS[name], FUSIONS[name]


def bake_off(trials: Trials, splits: Mapping[str, Sequence[str]]) -> dict[str, Runs]:
    """{"data set, protocol": the runs of `WAYS` and of `CONTROLS`}."""
    with added("dot, last ten", Product):
        rows = WAYS | CONTROLS
        return {f"{name}, {kind}": trials.measure(name, kind, rows) for name, kinds in splits.items() for kind in kinds}


def versus(runs: Runs, first: str, second: str) -> str:
    """The first variant minus the second: AUC over all rows with the item interval, within users with the user one."""
    rows, own = runs.gain(first, second), runs.gain(first, second, "user_auc")
    return (
        f"{first} minus {second}: all rows {rows.difference:+.3f}, "
        + "item interval [{:+.3f}, {:+.3f}]; ".format(*rows.others)
        + f"within users {own.difference:+.3f}, user interval [{own.low:+.3f}, {own.high:+.3f}]"
    )


def weights_of_past(
    past: torch.Tensor, film: int, texts: torch.Tensor, learned: torch.Tensor, recency: float, attention: Callable
) -> dict[str, torch.Tensor]:
    """{way: a weight for each film of the past, 0 for the film itself}; texts [films, d] are those of all films."""
    there = (past != film).float()
    fading = there * recency ** (there.sum() - there.cumsum(0))
    return {
        "all alike": there / there.sum(),
        "recency, with your r": fading / fading.sum(),
        "attention by text, with your weights": attention(texts[[film]], texts[past][None], there[None])[0],
        f"target attention, as learned, divided by its sum {learned.sum():.1f}": learned / learned.sum(),
    }


def for_the_pictures(trials: Trials, tables: Mapping[str, Runs]) -> dict[str, dict]:
    """What docs/results/03.json keeps of a `bake_off` at full scale: AUC, ceilings of the shop, differences."""
    ways = {key: runs.only(*WAYS) for key, runs in tables.items()}
    kept: dict[str, dict] = {"auc": {}, "ceilings": {}, "results": {}}
    for key, runs in ways.items():
        kept["auc"][key] = {name: row[0] for name, row in runs.to_rows().items()}
        if key.startswith("shop"):
            kept["ceilings"][key] = round(trials.ceiling(runs), 4)
        controls = tables[key].only("dot", *CONTROLS)
        kept["results"] |= {key: runs.to_rows("concat"), f"against dot, {key}": runs.to_rows("dot")}
        kept["results"][f"within users, {key}"] = runs.to_rows("concat", "user_auc")
        kept["results"][f"controls, {key}"] = controls.to_rows("dot")
        kept["results"][f"controls within users, {key}"] = controls.to_rows("dot", "user_auc")
    return kept


def half(item: torch.Tensor, text: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """No gate: half of each, whatever the film."""
    return (item + text) / 2


def with_own_gate(trials: Trials, fn: Callable, name: str, kind: str) -> Runs:
    """The runs of `gate`, of `OwnGate` with this function as "yours", and with `half` as "half and half"."""
    own = f"yours {len(trials._trained)}"  # a name that was not trained before
    rows = {"gate": {"fusion": "gate"}, "yours": {"fusion": own}, "half and half": {"fusion": "half and half"}}
    with added(own, partial(OwnGate, fn=fn)), added("half and half", partial(OwnGate, fn=half)):
        return trials.measure(name, kind, rows)


def forget(model: KLMRecommender) -> None:
    """Before training: no history."""
    model.fusion.history.requires_grad_(False).zero_()


def only_biases(model: KLMRecommender) -> None:
    """Before training: the vectors of people are zero and stay so. Nothing is multiplied; the biases remain."""
    for table in (model.fusion.user_ids, model.fusion.user_map, model.fusion.user_text_map, model.fusion.history):
        table.requires_grad_(False).zero_()


CONTROLS: dict[str, dict[str, Any]] = {
    "dot, last ten": {"fusion": "dot, last ten"},
    "concat, a tenth of the decay": {"fusion": "concat", "decay": 0.1},
    "biases only": {"change": only_biases},
}


def leave_in(model: KLMRecommender) -> None:
    """Before training: the target stays in its own history. This is the fault of section 6."""
    fusion: Any = model.fusion
    fusion.met = lambda users, items: torch.zeros_like(users, dtype=torch.bool)


def with_graph(kind: str, form: str, relations: Sequence[str] | None = None, width: int | None = None) -> Callable:
    """Options for `measure`: the facts of the graph, "true" or "shuffled", as "text" or as "features"."""

    def options(ds: RecDataset, seed: int) -> dict[str, Any]:
        found = [[f for f in own if relations is None or f[0] in relations] for own in graph.facts(ds)]
        found = found if kind == "true" else graph.shuffled(found, seed)
        if form == "features":
            return {"ds": replace(ds, items=ds.items.assign(facts=graph.as_tags(found)))}
        texts = tuple(text + facts_text(own) for text, own in zip(item_texts(ds), found, strict=True))
        return {"texts": texts} | ({"text_width": width} if width else {})

    return options


def graph_rows(forms: Sequence[str]) -> dict[str, Options]:
    """Rows for `measure` in the shop: without the graph, and in each form true and shuffled."""
    rows: dict[str, Options] = {"no graph": {}}
    rows |= {f"{form}, {kind}": with_graph(kind, form) for form in forms for kind in ("true", "shuffled")}
    if "text" in forms:
        rows["text, true, 128 components"] = with_graph("true", "text", width=128)
    return rows


def graph_results(found: Runs, forms: Sequence[str]) -> Rows:
    """The rows of `graph_rows` minus "no graph", and of each form true minus shuffled."""
    rows = found.to_rows("no graph")
    for form in forms:
        (rows[f"{form}, true minus shuffled"],) = found.gains((f"{form}, true", f"{form}, shuffled")).values()
    return rows


def wrong_graph() -> dict[str, Options]:
    """Rows for `measure`: MovieLens without its mislinked graph, with it as linked, and shuffled.

    The last row is the control of a test that should succeed: no graph, and the genres of MovieLens dealt to other
    films.
    """
    rows: dict[str, Options] = {"no graph": {}}
    rows["as linked"] = with_graph("true", "features", FREEBASE)
    return rows | {"shuffled": with_graph("shuffled", "features", FREEBASE), "genres shuffled": dealt_genres}


def dealt_genres(ds: RecDataset, seed: int) -> dict[str, Any]:
    """Options for `measure`: each film has the genres of another one, as tags and in its text."""
    order = others(len(ds.items), seed)
    return {"ds": replace(ds, items=ds.items.assign(tags=ds.items["tags"].to_numpy()[order]))}


@torch.no_grad()
def losses_of_auc(model: KLMRecommender, cut: Split, names: Sequence[str], deals: int = 5) -> list[float]:
    """AUC on test minus AUC with the rows of these tables dealt to others, for each deal."""
    rows, lost = cut.test, []
    auc = metrics.auc(rows["label"], model.predict(rows["user_id"], rows["item_id"]))
    for deal in range(deals):
        tables = [getattr(model.fusion, name) for name in names]
        before, draw = [t.clone() for t in tables], torch.Generator().manual_seed(deal)
        order = torch.randperm(len(tables[0]), generator=draw)
        for one in tables:
            one.copy_(one[order])
        lost.append(auc - metrics.auc(rows["label"], model.predict(rows["user_id"], rows["item_id"])))
        for one, old in zip(tables, before, strict=True):
            one.copy_(old)
    return lost


def importance(runs: Runs, name: str) -> dict[str, tuple[float, float, float]]:
    """Of each of `INPUTS` the `losses_of_auc` of this variant's last model: mean, smallest, largest."""
    model, cut = cast(KLMRecommender, runs.models[name]), list(runs.splits.values())[-1]
    lost = {label: losses_of_auc(model, cut, names) for label, names in INPUTS.items()}
    return {label: (float(np.mean(own)), min(own), max(own)) for label, own in lost.items()}


def on_train_and_test(runs: Runs) -> pd.DataFrame:
    """AUC of the rows of train and of test, columns, of the last model of each variant, rows."""
    cut = list(runs.splits.values())[-1]
    parts = {"train": cut.train, "test": cut.test}
    found = {
        name: {
            part: metrics.auc(rows["label"], model.predict(rows["user_id"], rows["item_id"]))
            for part, rows in parts.items()
        }
        for name, model in runs.models.items()
    }
    return pd.DataFrame(found).T


def chosen(on_valid: pd.DataFrame, near: float = 0.002) -> str:
    """Of the layers whose AUC on valid is within `near` of the highest, the fastest."""
    return str(on_valid["seconds"][on_valid["valid"] > on_valid["valid"].max() - near].idxmin())


def surviving(tables: Mapping[str, Rows], level: float = 0.95) -> dict[str, int]:
    """Of all differences of these tables, how many have an item interval without 0, alone and after Holm."""
    rows = [tuple(float(end or 0.0) for end in row) for table in tables.values() for row in table.values()]
    p = []
    for difference, _, _, low, high in rows:
        error = (high - low) / (2 * stats.norm.ppf((1 + level) / 2))
        p.append(2 * stats.norm.sf(abs(difference) / error))
    return {
        "differences": len(rows),
        "item interval excludes 0": sum(low > 0 or high < 0 for *_, low, high in rows),
        "and after Holm's correction": int((np.array(intervals.holm(p)) < 1 - level).sum()),
    }
