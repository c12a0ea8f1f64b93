"""Six ways to turn what is known of a user and an item into one score, with one signature.

Each is called with `Inputs` and returns float [n], before biases. All see the same: the user, the item's id, its text,
its tags and the user's history; they differ in how these meet. Tags and history are sets with a mask: their order, and
what finite number stands behind the mask, has no influence, and an empty one counts as zeros.
"""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a layer sees of n pairs of a user and an item; all vectors are d wide.

    user: id and profile, [n, d]. item: id, [n, d]. text: [n, d]. tags: [n, T, d] with tag_mask [n, T].
    past: the history without the item, [n, H, d] with past_mask [n, H]. Masks: 0 for padding, 1 for what is there; in
    past_mask it is the weight of an item.
    """

    user: torch.Tensor
    item: torch.Tensor
    text: torch.Tensor
    tags: torch.Tensor
    tag_mask: torch.Tensor
    past: torch.Tensor
    past_mask: torch.Tensor

    @property
    def tag_mean(self) -> torch.Tensor:
        """[n, d]"""
        return _mean(self.tags, self.tag_mask)

    @property
    def past_mean(self) -> torch.Tensor:
        """[n, d], weighted"""
        return _mean(self.past, self.past_mask)


def _mean(vectors: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Weighted mean of each set, as one product; zeros for an empty one."""
    weight = weight.to(vectors.dtype)
    return (weight[:, None, :] @ vectors).squeeze(1) / weight.sum(1, keepdim=True).clamp_min(
        torch.finfo(vectors.dtype).tiny
    )


def _mlp(inputs: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, 1))


class ConcatMLP(nn.Module):
    """MLP([user; past; item; text; tags]): all joined, then two linear maps with a kink between.

    Without the kink the score would be a(item) + b(user) and every user would get the same order (errata E40).

    Parameters: (5 d + 1) hidden + hidden + 1.

    Source: Covington et al. 2016, Deep neural networks for YouTube recommendations, section 4.
    """

    def __init__(self, width: int, hidden: int = 32):
        super().__init__()
        self.mlp = _mlp(5 * width, hidden)

    def forward(self, x: Inputs) -> torch.Tensor:
        return self.mlp(torch.cat([x.user, x.past_mean, x.item, x.text, x.tag_mean], -1)).squeeze(-1)


class Hadamard(nn.Module):
    """w . ((user + past) * (item + text + tags)): factors meet one by one; with w = 1 the dot product.

    Parameters: d.

    Source: He et al. 2017, Neural collaborative filtering, section 3.3 (GMF).
    """

    def __init__(self, width: int, hidden: int = 32):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Inputs) -> torch.Tensor:
        return ((x.user + x.past_mean) * (x.item + x.text + x.tag_mean)) @ self.weight


class Gate(nn.Module):
    """(user + past) . (g * item + (1 - g) * (text + tags)), g = sigmoid(W [item; text; tags]).

    The gate decides, factor by factor, whether to trust the id or the content.

    Parameters: (3 d + 1) d.

    Source: Arevalo et al. 2017, Gated multimodal units for information fusion, section 3.
    """

    def __init__(self, width: int, hidden: int = 32):
        super().__init__()
        self.gate = nn.Linear(3 * width, width)

    def forward(self, x: Inputs) -> torch.Tensor:
        content = x.text + x.tag_mean
        g = torch.sigmoid(self.gate(torch.cat([x.item, x.text, x.tag_mean], -1)))
        return ((x.user + x.past_mean) * (g * x.item + (1 - g) * content)).sum(-1)


class TagAttention(nn.Module):
    """person . (item + text + attended tags), the person asking which of the item's tags matter to him.

    attended = sum_t softmax_t(Q person . K tag_t / sqrt(d)) tag_t.

    Parameters: 2 d^2.

    Source: Vaswani et al. 2017, Attention is all you need, section 3.2.1 (one head, cross-attention).
    """

    def __init__(self, width: int, hidden: int = 32):
        super().__init__()
        self.query, self.key = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)

    def forward(self, x: Inputs) -> torch.Tensor:
        person, there = x.user + x.past_mean, x.tag_mask.bool()
        asked = self.query(person) @ self.key.weight  # Q person . K tag = (K' Q person) . tag
        fit = (x.tags @ asked[..., None]).squeeze(-1) / person.shape[-1] ** 0.5
        # the lowest finite number instead of -inf, then 0: an item without tags gets zeros, not nan
        weight = fit.masked_fill(~there, torch.finfo(fit.dtype).min).softmax(-1) * there
        attended = (weight[:, None, :] @ x.tags).squeeze(1)
        return (person * (x.item + x.text + attended)).sum(-1)


class Residual(nn.Module):
    """(user + past) . (content + item), content = text + tags + MLP(text + tags): the id corrects the content.

    With id dropout the content must stand alone for a share of the items, as it must for new ones.

    Parameters: (d + 1) hidden + (hidden + 1) d.

    Source: Volkovs et al. 2017, DropoutNet, section 3; Hou et al. 2022, UniSRec (text plus id).
    """

    def __init__(self, width: int, hidden: int = 32):
        super().__init__()
        self.map = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))

    def forward(self, x: Inputs) -> torch.Tensor:
        content = x.text + x.tag_mean
        return ((x.user + x.past_mean) * (content + self.map(content) + x.item)).sum(-1)


class TargetAttention(nn.Module):
    """user . thing + attended . thing, the item asking which of the user's past items matter to it.

    thing = item + text + tags; attended = sum_j a_j past_j with a_j = MLP([past_j; thing; past_j * thing]); the weights
    are not normalised, so that many matching items count more than one. The first map of the MLP is written as three,
    one for each part: the same numbers without joining them.

    Parameters: (3 d + 1) hidden + hidden + 1.

    Source: Zhou et al. 2018, Deep interest network for click-through rate prediction, section 4.3.
    """

    def __init__(self, width: int, hidden: int = 32):
        super().__init__()
        self.thing, self.past = nn.Linear(width, hidden), nn.Linear(width, hidden, bias=False)
        self.both, self.out = nn.Linear(width, hidden, bias=False), nn.Linear(hidden, 1)

    def forward(self, x: Inputs) -> torch.Tensor:
        thing = x.item + x.text + x.tag_mean
        hidden = self.thing(thing)[:, None, :] + self.past(x.past) + self.both(x.past * thing[:, None, :])
        weight = self.out(hidden.relu()).squeeze(-1) * x.past_mask
        attended = (weight[:, None, :] @ x.past).squeeze(1)
        return ((x.user + attended) * thing).sum(-1)


LAYERS = {
    "concat": ConcatMLP,
    "hadamard": Hadamard,
    "gate": Gate,
    "tags": TagAttention,
    "residual": Residual,
    "target": TargetAttention,
}
