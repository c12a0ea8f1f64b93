"""TransE: a graph as vectors, such that head + relation is near tail."""

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import softplus

from klm_utils.errors import DataError, check_kind, check_number, check_seed, check_whole
from klm_utils.knowledge.graph import Facts


class TransE:
    """Vectors of the nodes and relations of a graph: |h + r - t|^2 is small for its triples, large for others.

    For each triple another one is drawn, with another head or tail, and loss = log(1 + exp(d_true - d_other)), the mean
    over all; nodes are brought back to length 1 after each step.

    Args:
        triples: `head`, `relation`, `tail`; of items in train only, so that nothing is learnt of others.
        width: of the vectors. epochs: passes over the triples. lr: learning rate of Adam. batch: triples of a step.
        seed: of the start values and of what is drawn.

    nodes, relations: float32 tables with a row per name.

    Raises:
        DataError: no triples, or a column that is missing. ConfigError: no table, a setting without meaning.

    Source: Bordes et al. 2013, Translating Embeddings for Modeling Multi-relational Data, section 2; the loss as in
    Rendle et al. 2009, Bayesian Personalized Ranking.
    """

    def __init__(
        self,
        triples: pd.DataFrame,
        width: int = 32,
        epochs: int = 60,
        lr: float = 0.01,
        batch: int = 2048,
        seed: int = 0,
    ):
        check_kind("TransE(triples)", triples, pd.DataFrame, "a table of head, relation, tail", "pass ds.triples")
        missing = {"head", "relation", "tail"} - set(triples)
        if missing or triples.empty:
            found = list(triples) if missing else "no rows"
            raise DataError("this is no graph", "TransE(triples)", found, "head, relation, tail", "pass ds.triples")
        width, epochs, batch = check_whole("width", width), check_whole("epochs", epochs), check_whole("batch", batch)
        lr, seed = check_number("lr", lr, 1e-6, 10), check_seed(seed, "TransE(seed)")
        names, ends = pd.factorize(pd.concat([triples["head"], triples["tail"]]))
        heads, tails = torch.from_numpy(names).chunk(2)
        which, relations = pd.factorize(triples["relation"])
        draw = torch.Generator().manual_seed(seed)
        E = torch.nn.functional.normalize(torch.randn(len(ends), width, generator=draw)).requires_grad_()
        R = (torch.randn(len(relations), width, generator=draw) / width**0.5).requires_grad_()
        kinds, optimizer = torch.from_numpy(which), torch.optim.Adam([E, R], lr=lr)
        self.losses: list[float] = []
        for _ in range(epochs):
            total = 0.0
            for rows in torch.randperm(len(kinds), generator=draw).split(batch):
                h, r, t = heads[rows], kinds[rows], tails[rows]
                other = torch.randint(len(ends), rows.shape, generator=draw)
                head = torch.rand(rows.shape, generator=draw) < 0.5
                wrong = distance(E[torch.where(head, other, h)], R[r], E[torch.where(head, t, other)])
                loss = softplus(distance(E[h], R[r], E[t]) - wrong).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                with torch.no_grad():
                    E /= E.norm(dim=1, keepdim=True).clamp_min(1e-9)
                total += loss.item() * len(rows)
            self.losses.append(total / len(kinds))
        self.nodes = pd.DataFrame(E.detach().numpy(), index=pd.Index(ends, name="node"))
        self.relations = pd.DataFrame(R.detach().numpy(), index=pd.Index(relations, name="relation"))

    def items(self, facts: Facts) -> np.ndarray:
        """Where the facts of each item say that it lies: the mean of t - r, float32 [items, width]; zeros without any.

        So an item that the graph did not hold has a vector too, if its facts are of nodes that it held.
        """
        out = np.zeros((len(facts), self.nodes.shape[1]), dtype="float32")
        t, r = self.nodes.to_numpy(), self.relations.to_numpy()
        node = {name: i for i, name in enumerate(self.nodes.index)}
        kind = {name: i for i, name in enumerate(self.relations.index)}
        for row, own in zip(out, facts, strict=True):
            known = [(kind[relation], node[tail]) for relation, tail in own if relation in kind and tail in node]
            if known:
                at, to = map(list, zip(*known, strict=True))
                row += (t[to] - r[at]).mean(0)
        return out


def distance(h: torch.Tensor, r: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """|h + r - t|^2 of each row, [n]; its gradient is 2 (h + r - t) in h and r, and the negative of it in t."""
    return (h + r - t).square().sum(-1)
