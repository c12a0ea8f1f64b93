"""TransE: the gradient, a graph that translations fit, and items that it has not met."""

import numpy as np
import pandas as pd
import pytest
import torch

import klm_utils as klm
from klm_utils.knowledge.transe import TransE, distance

PEOPLE = [f"p{n}" for n in range(20)]
TRIPLES = pd.DataFrame(
    [(p, "livesIn", f"town {n % 4}") for n, p in enumerate(PEOPLE)]
    + [(f"town {n}", "liesIn", f"land {n % 2}") for n in range(4)],
    columns=["head", "relation", "tail"],
)


def test_the_gradient_by_hand():
    h, r, t = (torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(n)) for n in range(3))
    by_hand = 2 * (h + r - t)
    for place, want in enumerate((by_hand, by_hand, -by_hand)):

        def of(x, place=place):
            return distance(*[x if n == place else other for n, other in enumerate((h, r, t))]).sum()

        assert klm.gradients.compare(of, want, (h, r, t)[place]).ok


@pytest.mark.parametrize("place", range(4))
def test_the_gradient_of_the_loss_by_hand(place):
    """log(1 + exp(d - d')), d of (h, r, t), d' of (h, r, other): its gradient is sigmoid(d - d') (grad d - grad d').

    grad d is 2 (h + r - t) in h and r, its negative in t, and 0 in the other tail; so h and r get sigmoid times
    2 (other - t), in which they do not occur.
    """
    rows = [torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(n)) / 2 for n in range(4)]
    h, r, t, other = rows
    push = torch.sigmoid(distance(h, r, t) - distance(h, r, other))[:, None] / len(h)
    shared = push * 2 * (other - t)
    by_hand = (shared, shared, -push * 2 * (h + r - t), push * 2 * (h + r - other))[place]

    def loss(x):
        h, r, t, other = [x if n == place else own for n, own in enumerate(rows)]
        return torch.nn.functional.softplus(distance(h, r, t) - distance(h, r, other)).mean()

    assert klm.gradients.compare(loss, by_hand, rows[place]).ok


def test_true_triples_lie_nearer_than_others():
    model = TransE(TRIPLES, width=8, epochs=300, lr=0.05)
    assert model.losses[-1] < 0.5 * model.losses[0]
    E, R = model.nodes, model.relations
    for head, relation, tail in TRIPLES.itertuples(index=False):
        ends = E.loc[[name for name in E.index if name.startswith(tail.split()[0])]]
        apart = ((E.loc[head] + R.loc[relation] - ends) ** 2).sum(axis=1)
        assert apart.idxmin() == tail
    np.testing.assert_allclose(np.linalg.norm(E, axis=1), 1, rtol=1e-5)
    again = TransE(TRIPLES, width=8, epochs=300, lr=0.05)
    assert np.array_equal(again.nodes, E) and not np.array_equal(TransE(TRIPLES, width=8, seed=1).nodes, E)


def test_an_item_that_the_graph_did_not_hold_lies_where_its_facts_say():
    model = TransE(TRIPLES, width=8, epochs=300, lr=0.05)
    new, nobody, strange = model.items([[("livesIn", "town 1")], [], [("livesIn", "Mars"), ("knows", "p1")]])
    assert not nobody.any() and not strange.any()
    near = {p: ((model.nodes.loc[p] - new) ** 2).sum() for p in PEOPLE}
    neighbours = [p for n, p in enumerate(PEOPLE) if n % 4 == 1]
    assert sorted(near, key=near.get)[:5] == sorted(neighbours, key=near.get)


@pytest.mark.parametrize(
    ("triples", "options"),
    [
        (None, {}),
        (TRIPLES.head(0), {}),
        (TRIPLES.drop(columns="tail"), {}),
        (TRIPLES, {"width": 0}),
        (TRIPLES, {"lr": -1}),
        (TRIPLES, {"epochs": 1.5}),
    ],
)
def test_no_graph_or_setting(triples, options):
    with pytest.raises(klm.KLMError):
        TransE(triples, **options)
