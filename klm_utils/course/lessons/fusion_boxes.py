"""Notebook 03: one person and one film through each way of fusing, box by box, in vectors of two numbers.

The vectors are those of a `dot` model of width 2. Of the other layers only their own weights are trained, on the same
vectors, so that the drawings differ in nothing but how the boxes meet.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from klm_utils.data.splits import Split
from klm_utils.embedding.encoder import TextEncoder
from klm_utils.fusion import LAYERS, Inputs, LayerFusion
from klm_utils.models.recommender import KLMRecommender
from klm_utils.training.config import TrainConfig
from klm_utils.training.loop import fit

SOURCES = {  # box -> what goes into it; the score is the last
    "dot": {"person": "user past", "film": "id text tags", "score": "person film"},
    "hadamard": {"person": "user past", "film": "id text tags", "product": "person film"} | {"score": "product"},
    "gate": {"person": "user past", "content": "text tags", "g": "id text tags", "mix": "id g content"}
    | {"score": "person mix"},
    "residual": {"person": "user past", "content": "text tags", "MLP": "content", "film": "id content MLP"}
    | {"score": "person film"},
    "tags": {"person": "user past", "attention": "person tags", "film": "id text attention", "score": "person film"},
    "target": {"film": "id text tags", "attention": "past film", "person": "user attention", "score": "person film"},
    "concat": {"joined": "user past id text tags", "MLP": "joined", "score": "MLP"},
}

Boxes = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Small:
    """A `dot` model with vectors of two numbers, and the other layers upon the same vectors."""

    model: KLMRecommender
    layers: dict[str, LayerFusion]

    def inputs(self, user: int, item: int) -> Inputs:
        """What a layer sees of one pair of positions."""
        return pairs(self.layers["gate"], torch.tensor([user]), torch.tensor([item]))[0]

    @torch.no_grad()
    def boxes(self, user: int, item: int) -> dict[str, Boxes]:
        """{layer: {box: its numbers}} of one pair of positions, before the biases."""
        x = self.inputs(user, item)
        found = {"dot": of_dot(self.model, user, item)}
        return found | {name: of_layer(name, one.layer, x) for name, one in self.layers.items()}

    def notes(self, user: int, item: int) -> dict[str, dict[str, str]]:
        """{layer: {box: what to write in it}}: weights of tags and of `hadamard`, hidden units, and how many films."""
        drawn, names = self.boxes(user, item), self.model.features.names
        own = self.layers["tags"].tag_rows[item].tolist()
        weights = [(names[tag], weight) for tag, weight in zip(own, drawn["tags"]["weights"], strict=True) if tag >= 0]
        total = drawn["tags"]["attention"]
        lines = [f"{name.removeprefix('tags=')} {weight:.2f}" for name, weight in weights if name.startswith("tags=")]
        lines += [f"year {weight:.2f}" for name, weight in weights if not name.startswith("tags=")]
        lines.append(f"= {total[0]:.2f}, {total[1]:.2f}")
        product, factors = drawn["hadamard"]["product"], drawn["hadamard"]["weights"]
        rows = [f"{one:.3f} × w {factor:.2f}" for one, factor in zip(product, factors, strict=True)]
        hidden = [f"{one:.2f}" for one in drawn["concat"]["MLP"]]
        inner = "hidden units:\n" + "\n".join("  ".join(hidden[at : at + 2]) for at in range(0, len(hidden), 2))
        notes = {"tags": {"attention": "\n".join(lines)}, "hadamard": {"product": "\n".join(rows)}}
        return notes | {"concat": {"MLP": inner}, "target": {"past": f"{len(drawn['target']['weights'])}\nfilms"}}

    @torch.no_grad()
    def biases(self, user: int, item: int) -> tuple[float, float, float]:
        """The constant, the bias of the person and that of the film, which are added to every layer's score."""
        fusion, at = self.model.fusion, (torch.tensor([user]), torch.tensor([item]))
        of_user = fusion.user_rows(at[0], (None, None))[1]
        return fusion.constant.item(), of_user.item(), fusion.whole_rows(at[1], None, (None, None))[0, -1].item()


def small(cut: Split, encoder: TextEncoder, epochs: int, seed: int = 0, rows: int = 2048, steps: int = 100) -> Small:
    """Train `dot` on the whole of train, and the weights of each layer on some rows of it."""
    model = KLMRecommender.from_split(cut, encoder=encoder, seed=seed, width=2)
    fit(model, cut, TrainConfig(seed=seed, epochs=epochs))
    _balance(model, 2.0)
    train = cut.train.sample(min(rows, len(cut.train)), random_state=seed)
    users, items = model.positions(train["user_id"], train["item_id"])
    rating = torch.tensor(train["rating"].to_numpy(), dtype=torch.float32)
    layers: dict[str, LayerFusion] = {}
    for name in LAYERS:
        settings: dict[str, Any] = {"fusion": name, "width": 2, "hidden": 4}
        own: Any = KLMRecommender.from_split(cut, encoder=encoder, seed=seed, **settings).fusion
        own.load_state_dict(model.fusion.state_dict(), strict=False)
        inputs, biases = pairs(own, users, items)
        _train(own.layer, inputs, rating - own.constant.detach() - biases, steps)
        layers[name] = own
    return Small(model, layers)


@torch.no_grad()
def _balance(model: KLMRecommender, factor: float) -> None:
    """Films `factor` times as long and persons as much shorter: every product stays, and both are easier to read."""
    fusion = model.fusion
    for table in (fusion.item_ids, fusion.text_map, fusion.item_map, fusion.facts_map):
        table[:, :2] *= factor
    for table in (fusion.user_ids, fusion.user_map, fusion.user_text_map, fusion.history):
        table[:, :2] /= factor


@torch.no_grad()
def pairs(fusion: LayerFusion, users: torch.Tensor, items: torch.Tensor) -> tuple[Inputs, torch.Tensor]:
    """What the layer sees of these pairs of positions, and their biases [n]."""
    return fusion._inputs(users, items, None, (None, None))


def _train(layer: torch.nn.Module, inputs: Inputs, target: torch.Tensor, steps: int) -> None:
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        (layer(inputs) - target).square().mean().backward()
        optimizer.step()


@torch.no_grad()
def of_dot(model: KLMRecommender, user: int, item: int) -> Boxes:
    """The boxes of the default fusion: sums of tags, and of the whole history over the root of its length."""
    fusion, at = model.fusion, torch.tensor([item])
    rows = {name: own[0, :-1] for name, own in fusion.item_rows(at, None, (None, None)).items()}
    history = fusion.own(user)
    history = history[history != item]
    boxes = {
        "user": fusion.user_rows(torch.tensor([user]), (None, None))[0][0],
        "past": fusion.past_of(history).sum(0) / max(len(history), 1) ** 0.5,
        "id": rows["item id"],
        "text": rows["item text"] + rows["item facts"],
        "tags": rows["item tags"],
    }
    boxes["person"] = boxes["user"] + boxes["past"]
    boxes["film"] = boxes["id"] + boxes["text"] + boxes["tags"]
    boxes["score"] = boxes["person"] @ boxes["film"]
    return {name: value.numpy() for name, value in boxes.items()}


@torch.no_grad()
def of_layer(name: str, layer: Any, x: Inputs) -> Boxes:
    """The boxes of one of `LAYERS` for one pair; "weights" are those of its tags or of its past, if it has any."""
    boxes = {"user": x.user, "past": x.past_mean, "id": x.item, "text": x.text, "tags": x.tag_mean}
    boxes |= {"person": x.user + x.past_mean, "film": x.item + x.text + x.tag_mean, "content": x.text + x.tag_mean}
    if name == "concat":
        boxes["joined"] = torch.cat([x.user, x.past_mean, x.item, x.text, x.tag_mean], -1)
        boxes["MLP"] = layer.mlp[:2](boxes["joined"])
    elif name == "hadamard":
        boxes["product"], boxes["weights"] = boxes["person"] * boxes["film"], layer.weight[None]
    elif name == "gate":
        boxes["g"] = torch.sigmoid(layer.gate(torch.cat([x.item, x.text, x.tag_mean], -1)))
        boxes["mix"] = boxes["g"] * x.item + (1 - boxes["g"]) * boxes["content"]
    elif name == "residual":
        boxes["MLP"] = layer.map(boxes["content"])
        boxes["film"] = boxes["content"] + boxes["MLP"] + x.item
    elif name == "tags":
        boxes["weights"] = tag_weights(layer, x)
        boxes["attention"] = (boxes["weights"][:, None, :] @ x.tags)[:, 0]
        boxes["film"] = x.item + x.text + boxes["attention"]
    else:
        boxes["weights"] = past_weights(layer, x)
        boxes["attention"] = (boxes["weights"][:, None, :] @ x.past)[:, 0]
        boxes["person"] = x.user + boxes["attention"]
    wanted = {*SOURCES[name], "user", "past", "id", "text", "tags", "weights"}
    boxes["score"] = layer(x)
    return {box: value[0].numpy() for box, value in boxes.items() if box in wanted}


@torch.no_grad()
def tag_weights(layer: Any, x: Inputs) -> torch.Tensor:
    """How `TagAttention` weighs the tags of each film, [n, T]; they sum to 1, and padding has 0."""
    asked = layer.query(x.user + x.past_mean)[:, None, :] * layer.key(x.tags)
    score = asked.sum(-1) / x.user.shape[-1] ** 0.5
    return score.masked_fill(x.tag_mask == 0, torch.finfo(score.dtype).min).softmax(-1) * x.tag_mask


@torch.no_grad()
def past_weights(layer: Any, x: Inputs) -> torch.Tensor:
    """How `TargetAttention` weighs the films of each history, [n, H]; of any sign and any sum."""
    thing = x.item + x.text + x.tag_mean
    hidden = layer.thing(thing)[:, None, :] + layer.past(x.past) + layer.both(x.past * thing[:, None, :])
    return layer.out(hidden.relu()).squeeze(-1) * x.past_mask


@torch.no_grad()
def learned_weights(model: KLMRecommender, user, film: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The films of a user's history, by position, and how a trained "target" layer weighs them for this film."""
    fusion: Any = model.fusion
    at = torch.as_tensor(model.users.get_indexer([user]))
    history = fusion.past_rows[at[0]]
    x, _ = pairs(fusion, at, torch.tensor([film]))
    there = history >= 0
    return history[there], past_weights(fusion.layer, x)[0][there]


@torch.no_grad()
def gates(model: KLMRecommender, cut: Split) -> tuple[pd.DataFrame, np.ndarray]:
    """What a trained "gate" does: a row per film, and its gates g, [films, d].

    Columns: "rows" in train, and the lengths of the two parts that are added: "id", g * id, and "content", the rest.
    """
    fusion: Any = model.fusion
    x, _ = pairs(fusion, torch.zeros(len(model.items), dtype=torch.long), torch.arange(len(model.items)))
    g = torch.sigmoid(fusion.layer.gate(torch.cat([x.item, x.text, x.tag_mean], -1)))
    rows = model.items.index.map(cut.train["item_id"].value_counts().get).to_series().fillna(0).to_numpy()
    parts = {"id": g * x.item, "content": (1 - g) * (x.text + x.tag_mean)}
    lengths = {name: part.norm(dim=1).numpy() for name, part in parts.items()}
    return pd.DataFrame({"rows": rows.astype(int)} | lengths, index=model.items.index), g.numpy()
