"""`overview`: the scores of all items, and what the average item gets, without taking every item apart."""

import numpy as np
import pytest
import torch
from test_dot import ITEMS, NEW_ITEM, USERS, WIDTH, built, catalogue
from torch.overrides import TorchFunctionMode

from klm_utils.data.catalogue import Catalogue
from klm_utils.fusion import FUSIONS, DotFusion

LAYERED = sorted(FUSIONS.keys() - {"dot"})


def of(name):
    """With parameters that are large enough to matter."""
    if name == "dot":
        return built()
    made = FUSIONS[name](catalogue(), width=WIDTH, hidden=8, past=3, recency=0.5).double().eval()
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw, dtype=torch.float64))
    return made


@pytest.mark.parametrize("history", [None, [5, 3], [], [NEW_ITEM], list(range(ITEMS))])
@pytest.mark.parametrize(("name", "room"), [("dot", 1), *((name, room) for name in LAYERED for room in (1, 10**6))])
def test_it_is_what_the_parts_of_all_items_say(name, room, history, monkeypatch):
    """Of warm and cold users; with layers all items at a time and one by one."""
    monkeypatch.setattr("klm_utils.fusion.layered.ROOM", room)
    fusion, given = of(name), None if history is None else torch.tensor(history, dtype=torch.int64)
    for user in range(USERS):
        scores, means = fusion.overview(user, given)
        parts = fusion.parts(user, torch.arange(ITEMS), given)
        torch.testing.assert_close(scores, sum(parts.values()), rtol=1e-6, atol=1e-6)
        assert list(means) == list(parts)
        for part, mean in means.items():
            assert mean == pytest.approx(parts[part].mean().item(), rel=1e-5, abs=1e-6), part


class Largest(TorchFunctionMode):
    """Remembers the size of the largest tensor that a function of torch returned."""

    numbers = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        made = function(*args, **kwargs or {})
        self.numbers = max(self.numbers, made.numel() if isinstance(made, torch.Tensor) else 0)
        return made


def bot(items, met):
    """A user who has met every second thing of many."""
    return Catalogue(
        text=np.zeros((items, 0)),
        user_text=np.zeros((1, 0)),
        item_features=np.ones((items, 1)),
        user_features=np.ones((1, 1)),
        pairs=np.stack([np.zeros(met, int), 2 * np.arange(met)]),
        known_users=np.ones(1, bool),
        known_items=np.ones(items, bool),
    )


def largest(call):
    with Largest() as seen:
        call()
    return seen.numbers


def test_it_needs_no_table_of_the_history_by_the_catalogue():
    items, met = 3000, 1500
    fusion = DotFusion(bot(items, met), width=WIDTH)
    assert largest(lambda: fusion.overview(0)) <= 2 * WIDTH * items
    assert largest(lambda: fusion.parts(0, torch.arange(10))) <= max(2 * WIDTH * items, 10 * met)
    assert largest(lambda: fusion.parts(0, torch.arange(items))) == met * items, "the old way: this can see it"


def test_a_long_past_is_met_by_few_items_at_a_time(monkeypatch):
    monkeypatch.setattr("klm_utils.fusion.layered.ROOM", 10_000)
    fusion = FUSIONS["target"](bot(400, 200), width=WIDTH, past=200, hidden=4)
    assert largest(lambda: fusion.overview(0)) <= 10_000 * WIDTH < 200 * 400 * WIDTH
