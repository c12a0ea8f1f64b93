"""How the vector of a text enters a recommender: several linear maps, and a gate that says how much of each."""

import numpy as np
import torch
from torch import Tensor

from klm_utils.data.splits import Split
from klm_utils.errors import DataError, check_kind, check_number, check_seed, check_whole
from klm_utils.knowledge.relational import nearness, watched_together


class ExpertAdaptor(torch.nn.Module):
    """z = sum_k g_k (x - b_k) W_k with g = softmax(x V): each expert k is a whitening with a shift that is learnt.

    Args:
        dim: of x. width: of z. experts: how many; with one this is a linear map. seed: of the start values.

    matrix W: [experts, dim, width]; shift b: [experts, dim]; gate V: [dim, experts], from zeros: all alike.

    Source: Hou et al. 2022, UniSRec, section 2.1 (eq. 2-4), without its noise on the gate; KAR (Xi et al. 2023) has
    the same with two groups of experts.
    """

    def __init__(self, dim: int, width: int = 64, experts: int = 4, seed: int = 0):
        super().__init__()
        dim, width, experts = check_whole("dim", dim), check_whole("width", width), check_whole("experts", experts)
        draw = torch.Generator().manual_seed(check_seed(seed, "ExpertAdaptor(seed)"))
        self.matrix = torch.nn.Parameter(torch.randn(experts, dim, width, generator=draw) / dim**0.5)
        self.shift = torch.nn.Parameter(torch.zeros(experts, dim))
        self.gate = torch.nn.Parameter(torch.zeros(dim, experts))

    def weights(self, x: Tensor) -> Tensor:
        """g, [n, experts], of x, [n, dim]: each row sums to 1."""
        return (x @ self.gate).softmax(1)

    def forward(self, x: Tensor) -> Tensor:
        """[n, dim] -> [n, width]."""
        each = torch.einsum("nkd,kdw->nkw", x[:, None] - self.shift, self.matrix)
        return (self.weights(x)[..., None] * each).sum(1)


def adapted(vectors: np.ndarray, split: Split, steps: int = 60, lr: float = 0.003, **options) -> np.ndarray:
    """The vectors of all items through an `ExpertAdaptor(dim, **options)` learnt on the items of train (`nearness`).

    Args:
        vectors: float [items, dim], in the order of the items, each centred or not. split: of whose train it learns.

    Returns:
        float32 [items, width].

    Raises:
        DataError: not one vector per item. ConfigError: no split, a setting without meaning.
    """
    check_kind("adapted(split)", split, Split, "a Split", "klm.split(ds, 'cold_item')")
    steps, lr, x = check_whole("steps", steps), check_number("lr", lr, 1e-6, 10), torch.tensor(vectors).float()
    if x.ndim != 2 or len(x) != len(split.dataset.items):
        expected = f"[{len(split.dataset.items)}, dim]"
        raise DataError("not one vector per item", "adapted(vectors)", tuple(x.shape), expected, "encode all items")
    films, together = watched_together(split)
    model, known = ExpertAdaptor(x.shape[1], **options), x[films]
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    for _ in range(steps):
        loss = nearness(model(known), together)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model(x).detach().numpy()
