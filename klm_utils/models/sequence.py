"""SASRec: what comes next, from the order of what came before (notebook 08)."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from klm_utils.data.histories import padded
from klm_utils.errors import ConfigError, DataError, check_number, check_seed, check_whole
from klm_utils.evaluation.metrics import numbers


class Attention(nn.Module):
    """y = A V in each head, A = softmax(Q K' / sqrt(d)) over this place and the earlier ones; [b, t, w] -> [b, t, w].

    Its gradient by hand is `klm_utils.gradients.backward.attention`.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.heads = heads

    def weights(self, x: Tensor, seen: Tensor) -> Tensor:
        """A, float [b, heads, t, s]. seen: whether place s may be read at place t, bool [b, t, s]."""
        q, k = self._parted(self.query(x)), self._parted(self.key(x))
        return (q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(~seen[:, None], -torch.inf).softmax(-1)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        return (self.weights(x, seen) @ self._parted(self.value(x))).transpose(1, 2).flatten(2)

    def _parted(self, y: Tensor) -> Tensor:
        return y.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Block(nn.Module):
    """Attention between places, then a network at each place; each is added to what came in."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.attention, self.joined = Attention(width, heads), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.before, self.between, self.dropout = nn.LayerNorm(width), nn.LayerNorm(width), nn.Dropout(dropout)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        x = x + self.dropout(self.joined(self.attention(self.before(x), seen)))
        return x + self.dropout(self.narrow(F.gelu(self.wide(self.between(x)))))


class SASRec(nn.Module):
    """A transformer over a history. At each place its state says what comes next: a product with each item's vector.

    An item's vector is the sum of a free one (`ids`) and of a linear map of what is known of it (`vectors`).

    Args:
        items: ids, in the order of the vectors.
        vectors: of the items' texts or facts, float [items, dim]; None: none.
        start: what the free vectors are at first, float [items, width]; None: noise.
        ids: whether items have free vectors. Without them an item that nobody has met is like any other.
        length: how many of the last items are read.
        dropout: of item vectors and of both halves of each block.

    Source: Kang and McAuley 2018, Self-attentive sequential recommendation, section III; the norm before each half:
    Xiong et al. 2020, On layer normalization in the transformer architecture.
    """

    name = "SASRec"
    vectors: Tensor | None

    def __init__(
        self,
        items: Sequence,
        *,
        width: int = 64,
        heads: int = 2,
        blocks: int = 2,
        length: int = 30,
        dropout: float = 0.3,
        vectors: np.ndarray | None = None,
        start: np.ndarray | None = None,
        ids: bool = True,
        seed: int = 0,
    ):
        super().__init__()
        self.items = pd.Index(items, name="item_id")
        self.length, self.heads = check_whole("length", length), check_whole("heads", heads)
        if check_whole("width", width) % heads:
            expected = f"a divisor of the width, {width}"
            raise ConfigError("the heads cannot share the width", "SASRec(heads)", heads, expected, "heads=2")
        if not ids and vectors is None:
            raise ConfigError("an item has no vector", "SASRec(ids)", ids, "ids, vectors or both", "pass vectors=...")
        dropout = check_number("dropout", dropout, 0, 0.99)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(check_seed(seed, "SASRec(seed)"))
            self.free = nn.Parameter(torch.randn(len(self.items), width) / math.sqrt(width)) if ids else None
            self.places = nn.Parameter(0.02 * torch.randn(length, width))
            self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(check_whole("blocks", blocks)))
            known = None if vectors is None else self._rows(vectors, "vectors")
            self.register_buffer("vectors", known)
            self.map = None if known is None else nn.Linear(known.shape[1], width)
        if start is not None and self.free is not None:
            if (first := self._rows(start, "start")).shape != self.free.shape:
                found, expected = tuple(first.shape), f"{tuple(self.free.shape)}"
                raise DataError("the first vectors are not as wide as the model", "SASRec(start)", found, expected)
            self.free.data.copy_(first)
        self.bias, self.norm, self.dropout = nn.Parameter(torch.zeros(len(self.items))), nn.LayerNorm(width), dropout
        self.eval()

    def _rows(self, values: np.ndarray, name: str) -> Tensor:
        values = numbers(values, f"SASRec({name})")
        if values.ndim != 2 or len(values) != len(self.items) or not np.isfinite(values).all():
            expected = f"[{len(self.items)}, any width], finite: a row per item"
            raise DataError("there is not one vector per item", f"SASRec({name})", values.shape, expected)
        return torch.as_tensor(values, dtype=torch.float32)

    def table(self) -> Tensor:
        """The items' vectors, float [items, width]."""
        parts = [] if self.map is None else [self.map(self.vectors)]
        return sum(parts[1:], parts[0]) if self.free is None else sum(parts, self.free)

    def forward(self, history: Tensor, table: Tensor) -> Tensor:
        """States, float [b, t, width]: that of a place depends on this place and the earlier ones alone.

        Args:
            history: positions of items, the last one at the right, -1 before the first; int [b, t], t <= length.
            table: the items' vectors.
        """
        x, seen = self.places_of(history, table), may_read(history >= 0)
        x = F.dropout(x, self.dropout, self.training)
        for block in self.blocks:
            x = block(x, seen)
        return self.norm(x)

    def places_of(self, history: Tensor, table: Tensor) -> Tensor:
        """What the first block is given: the vector of each place's item, and of the place; float [b, t, width]."""
        vectors = math.sqrt(table.shape[1]) * table[history.clamp_min(0)]
        return vectors + self.places[self.length - history.shape[1] :]

    def scores(self, states: Tensor, table: Tensor) -> Tensor:
        """Logits of all items at these states, [..., width] -> [..., items]."""
        return states @ table.T + self.bias

    def surprise(self, states: Tensor, table: Tensor, target: Tensor, known: Tensor) -> Tensor:
        """-log P(target), float [n]: softmax over the items that are known, bool [items]."""
        z = self.scores(states, table).masked_fill(~known, -torch.inf)
        return F.cross_entropy(z, target, reduction="none")

    @torch.no_grad()
    def predict(self, histories: Sequence[Sequence], batch: int = 256) -> np.ndarray:
        """Probability of each item to be the next one, float64 [histories, items]; of an empty history by the bias.

        Args:
            histories: ids, oldest first; only the last `length` are read.

        Raises:
            DataError: an id that the model does not know.
        """
        self.eval()
        table, out = self.table(), np.empty((len(histories), len(self.items)))
        for at in range(0, len(histories), batch):
            last = padded(histories[at : at + batch], self.items, self.length)
            history = torch.from_numpy(last).to(table.device)
            z = self.scores(self(history, table)[:, -1], table)
            z[history[:, -1] < 0] = self.bias
            out[at : at + batch] = z.double().softmax(-1).cpu().numpy()
        return out


def may_read(real: Tensor) -> Tensor:
    """Whether place s may be read at place t, bool [b, t, s]: itself, and what is real and not later.

    Padding reads itself, since a softmax over nothing is nan; nobody else reads it.
    """
    t = real.shape[1]
    earlier = torch.ones(t, t, dtype=torch.bool, device=real.device).tril()
    return earlier & real[:, None, :] | torch.eye(t, dtype=torch.bool, device=real.device)
