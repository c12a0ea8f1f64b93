"""One layer that reads the facts of a film: which fact counts how much, and what it says by its relation."""

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import normalize

from klm_utils.data.catalogue import choices
from klm_utils.data.splits import Split
from klm_utils.errors import DataError, check_kind, check_number, check_seed, check_whole
from klm_utils.knowledge.graph import Facts
from klm_utils.knowledge.transe import TransE

WARMTH = 0.3  # a cosine divided by this is a logit


class RelationalLayer(torch.nn.Module):
    """A film is the mean of what its facts say, weighted by attention: z = sum over its facts of pi W_r (t - r).

    t, r are TransE's vectors of the tail and the relation, h the plain mean of t - r over the facts of the film: where
    it starts, since a new film has no vector of its own. pi is the softmax, over the facts of one film, of
    (W_r t) . tanh(W_r h + r). Only the W_r are learnt, [relations, width, width], from the identity: where a node lies
    stays as the graph says, so a node of one film cannot learn that film by heart.

    Args:
        transe: of the triples of items in train.

    Source: Wang et al. 2019, KGAT, section 3.2 (eq. 3-5). Theirs has several layers and the vector of h beside the
    mean, and learns the nodes too; the t - r in place of t is TransE's, so that with equal pi the start is its `items`.
    """

    t: Tensor
    r: Tensor

    def __init__(self, transe: TransE):
        super().__init__()
        check_kind("RelationalLayer(transe)", transe, TransE, "a TransE", "RelationalLayer(TransE(triples))")
        self.node = {name: i for i, name in enumerate(transe.nodes.index)}
        self.kind = {name: i for i, name in enumerate(transe.relations.index)}
        self.register_buffer("t", torch.tensor(transe.nodes.to_numpy()))
        self.register_buffer("r", torch.tensor(transe.relations.to_numpy()))
        self.turn = torch.nn.Parameter(torch.eye(self.t.shape[1]).repeat(len(self.r), 1, 1))

    def edges(self, found: Facts) -> Tensor:
        """(film, relation, tail) of each fact whose relation and tail TransE has met, as positions, int [edges, 3]."""
        facts = [(film, relation, tail) for film, own in enumerate(found) for relation, tail in own]
        known = [(film, self.kind.get(relation, -1), self.node.get(tail, -1)) for film, relation, tail in facts]
        return torch.tensor([edge for edge in known if min(edge) >= 0], dtype=torch.long).view(-1, 3)

    def forward(self, edges: Tensor, films: int) -> tuple[Tensor, Tensor]:
        """Vectors of the films, [films, width], zeros without facts; and pi of each edge, [edges]."""
        film, kind, tail = edges.T
        says = self.t[tail] - self.r[kind]
        count = film.bincount(minlength=films).clamp_min(1)[:, None]
        h = says.new_zeros(films, says.shape[1]).index_add(0, film, says) / count
        score, turned = says.new_zeros(len(edges)), torch.zeros_like(says)
        for at, turn in enumerate(self.turn):
            own = (kind == at).nonzero()[:, 0]
            fit = (self.t[tail[own]] @ turn.T * torch.tanh(h[film[own]] @ turn.T + self.r[at])).sum(1)
            score, turned = score.index_add(0, own, fit), turned.index_add(0, own, says[own] @ turn.T)
        pi = softmax_within(score, film, films)
        return says.new_zeros(films, says.shape[1]).index_add(0, film, pi[:, None] * turned), pi

    def fit(self, found: Facts, split: Split, steps: int = 60, lr: float = 0.003, drop: float = 0.3, seed: int = 0):
        """Learn W_r from train, such that films that the same users chose are near (`nearness`); gives itself back.

        found: facts of all items, in the order of the items. drop: share of facts left out of each step, so that no
        film relies on one. seed: of what is dropped. losses: of each step.

        Raises:
            DataError: not as many lists as items. ConfigError: no split, a setting without meaning.
        """
        films, together = watched_together(split)
        if len(found) != (n := len(split.dataset.items)):
            raise DataError("not one list per item", "fit(found)", len(found), f"{n} lists", "graph.facts(ds)")
        steps, lr = check_whole("steps", steps), check_number("lr", lr, 1e-6, 10)
        drop = check_number("drop", drop, 0, 0.9)
        draw = torch.Generator().manual_seed(check_seed(seed, "RelationalLayer.fit(seed)"))
        edges = self.edges([found[film] for film in films])
        optimizer, self.losses = torch.optim.Adam([self.turn], lr=lr), []
        for _ in range(steps):
            left = edges[torch.rand(len(edges), generator=draw) >= drop]
            loss = nearness(self(left, len(films))[0], together)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            self.losses.append(loss.item())
        return self

    @torch.no_grad()
    def items(self, found: Facts) -> np.ndarray:
        """Vectors of items, met or new, from their facts alone: float32 [items, width]; zeros without any."""
        return self(self.edges(found), len(found))[0].numpy()

    @torch.no_grad()
    def attention(self, own: list[tuple[str, str]]) -> pd.Series:
        """pi of one film by (relation, tail), the largest first; they sum to 1. What TransE has not met is left out."""
        edges = self.edges([own])
        names = [(list(self.kind)[kind], list(self.node)[tail]) for _, kind, tail in edges.tolist()]
        index = pd.MultiIndex.from_tuples(names, names=["relation", "tail"]) if names else None
        return pd.Series(self(edges, 1)[1].numpy(), index, name="pi").sort_values(ascending=False)


def softmax_within(score: Tensor, group: Tensor, groups: int) -> Tensor:
    """The softmax of scores, [n], over those of one group each (0 <= group < groups, [n]): they sum to 1 there."""
    top = score.new_full((groups,), -torch.inf).scatter_reduce(0, group, score.detach(), "amax")
    up = (score - top[group]).exp()
    return up / up.new_zeros(groups).index_add(0, group, up)[group]


def watched_together(split: Split) -> tuple[np.ndarray, Tensor]:
    """The items that were chosen in train, as positions [n], and P [n, n]: another choice of one who chose i is j.

    Each row of P sums to 1 (to 0 where nobody chose anything else), its diagonal is 0.
    """
    check_kind("watched_together(split)", split, Split, "a Split", "klm.split(ds, 'cold_item')")
    user, item = choices(split, split.train)
    films, at = np.unique(item, return_inverse=True)
    x = torch.zeros(len(split.dataset.users), len(films))
    x[user, at] = 1.0
    P = ((x / (x.sum(1, keepdim=True) - 1).clamp_min(1)).T @ x).fill_diagonal_(0)
    return films, P / P.sum(1, keepdim=True).clamp_min(1e-9)


def nearness(vectors: Tensor, P: Tensor) -> Tensor:
    """Cross-entropy of P, [n, n], against softmax_j (cos(i, j) / WARMTH + log q_j), j another than i; the mean over i.

    The cosine is of the vectors less their mean, as `KernelRidge` takes them. q_j is the mean of column j of P, how
    often j is chosen at all: so the cosine says what is more than popularity.
    """
    z = normalize(vectors - vectors.mean(0), dim=1)
    logits = z @ z.T / WARMTH + (P.mean(0) + 1e-6).log()
    logits = logits.masked_fill(torch.eye(len(P), dtype=torch.bool), -1e9)
    return -(P * logits.log_softmax(1)).sum(1).mean()
