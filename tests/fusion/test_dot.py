"""DotFusion against its formula written out in loops, and the influence of every input on the score."""

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau
from sklearn.decomposition import PCA
from torch.func import functional_call

from klm_utils.data.catalogue import Catalogue
from klm_utils.fusion import BASE, ITEM_PARTS, USER, DotFusion, vectors

USERS, ITEMS, DIM, TAGS, PROFILE, WIDTH = 6, 9, 5, 3, 2, 4
NEW_USER, ALONE, NEW_ITEM = 5, 4, 8  # not in train; with one item; not in train
WARM = 0


def catalogue(dim=DIM, pairs=None, scale=1.0):
    """Six users and nine items. User 5 has a history (shown rows) but no id vector, user 3 an id but no history."""
    rng = np.random.default_rng(0)
    if pairs is None:
        pairs = [(0, 1), (0, 2), (0, 7), (1, 0), (1, 1), (2, 3), (2, 2), (4, 6), (5, 0), (5, 3)]
    return Catalogue(
        text=scale * rng.normal(0.3, 1, (ITEMS, dim)).astype("float32"),
        user_text=scale * np.random.default_rng(1).normal(0.3, 1, (USERS, dim)).astype("float32"),
        item_features=rng.integers(0, 2, (ITEMS, TAGS)).astype("float32"),
        user_features=rng.integers(0, 2, (USERS, PROFILE)).astype("float32"),
        pairs=np.array(pairs, dtype=np.int64).reshape(-1, 2).T,
        known_users=np.arange(USERS) != NEW_USER,
        known_items=np.arange(ITEMS) != NEW_ITEM,
    )


def built(given=None, id_dropout=0.0, user_dropout=0.0):
    """A fusion in which every parameter is large enough to matter, in float64, outside of training."""
    fusion = DotFusion(catalogue() if given is None else given, width=WIDTH).double().eval()
    fusion.id_dropout, fusion.user_dropout = id_dropout, user_dropout
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw, dtype=torch.float64))
    return fusion


def everything():
    users, items = torch.meshgrid(torch.arange(USERS), torch.arange(ITEMS), indexing="ij")
    return users.reshape(-1), items.reshape(-1)


def score(fusion, user, item):
    with torch.no_grad():
        return fusion(torch.tensor([user]), torch.tensor([item])).item()


def by_hand(fusion, given, user, item, leave_out=True):
    """The formula of the docstring, one pair at a time; `leave_out=False` keeps the target in its own history."""
    p = {name: value.detach().numpy() for name, value in fusion.named_parameters()}
    text = (given.text[item] - fusion.text_mean.numpy()) @ fusion.text_basis.numpy()
    q = text @ p["text_map"] + given.item_features[item] @ p["item_map"]
    if given.known_items[item]:
        q = q + np.r_[p["item_ids"][item], p["item_bias"][item]]
    profile = (given.user_text[user] - fusion.user_text_mean.numpy()) @ fusion.user_text_basis.numpy()
    own = profile @ p["user_text_map"] + given.user_features[user] @ p["user_map"]
    if given.known_users[user]:
        own = own + np.r_[p["user_ids"][user], p["user_bias"][user]]
    past = [j for u, j in given.pairs.T if u == user and not (leave_out and j == item)]
    h = sum((p["history"][j] for j in past), np.zeros(WIDTH)) / np.sqrt(max(len(past), 1))
    return p["constant"] + own[-1] + q[-1] + (own[:-1] + h) @ q[:-1]


def test_forward_is_the_formula_for_every_pair():
    given, fusion = catalogue(), built()
    users, items = everything()
    want = [by_hand(fusion, given, u, i) for u, i in zip(users.tolist(), items.tolist(), strict=True)]
    np.testing.assert_allclose(fusion(users, items).detach(), want, rtol=1e-6)  # the buffers were float32


def test_grid_is_forward_on_all_pairs():
    fusion = built()
    flat = fusion(*everything()).reshape(USERS, ITEMS)
    torch.testing.assert_close(fusion.grid(torch.arange(USERS), torch.arange(ITEMS)), flat)
    users, items = torch.tensor([4, 0, 0]), torch.tensor([7, 2])  # any selection, in any order, with repeats
    torch.testing.assert_close(fusion.grid(users, items), flat[users][:, items])


def test_grid_is_forward_in_training_too_under_the_same_draws():
    fusion = built(id_dropout=0.5, user_dropout=0.5).train()
    flat = fusion(*everything(), None, torch.Generator().manual_seed(3)).reshape(USERS, ITEMS)
    grid = fusion.grid(torch.arange(USERS), torch.arange(ITEMS), None, torch.Generator().manual_seed(3))
    torch.testing.assert_close(grid, flat)
    assert not torch.allclose(grid, fusion.eval().grid(torch.arange(USERS), torch.arange(ITEMS)))


@pytest.mark.parametrize("user", range(USERS))
def test_parts_sum_to_the_score(user):
    """Of warm and cold, with and without a history, items of the history included."""
    fusion, items = built(), torch.arange(ITEMS)
    parts = fusion.parts(user, items)
    torch.testing.assert_close(sum(parts.values()), fusion(torch.full((ITEMS,), user), items).detach())
    assert set(parts) == {BASE, USER, *ITEM_PARTS} | {j for u, j in catalogue().pairs.T.tolist() if u == user}


def test_parts_of_another_history_are_the_scores_of_a_user_with_that_history():
    fusion, items = built(), torch.arange(ITEMS)
    pairs = [(u, j) for u, j in catalogue().pairs.T.tolist() if u != 0] + [(0, 5), (0, 3)]
    other = built(catalogue(pairs=pairs))
    swapped = fusion.parts(0, items, history=torch.tensor([5, 3]))
    torch.testing.assert_close(sum(swapped.values()), other(torch.zeros(ITEMS, dtype=torch.int64), items).detach())
    assert not torch.allclose(sum(swapped.values()), sum(fusion.parts(0, items).values()))


def test_an_item_is_no_reason_for_itself():
    parts = built().parts(0, torch.tensor([1, 2]))
    assert parts[1][0] == 0 and parts[2][1] == 0 and parts[1][1] != 0


def test_the_target_is_taken_out_of_its_own_history():
    given, fusion = catalogue(), built()
    before, other, kept = score(fusion, 0, 1), score(fusion, 0, 3), by_hand(fusion, given, 0, 1, leave_out=False)
    with torch.no_grad():
        fusion.history[1] += 1
    assert score(fusion, 0, 1) == pytest.approx(before, abs=1e-12)
    assert score(fusion, 0, 3) != pytest.approx(other, abs=1e-3), "item 1 is history when item 3 is the target"
    leaky = by_hand(fusion, given, 0, 1, leave_out=False)
    assert leaky != pytest.approx(kept, abs=1e-3), "a fusion that leaves the target in knows the answer"


def test_a_history_of_the_target_alone_is_an_empty_one():
    fusion = built()
    alone = built(catalogue(pairs=[pair for pair in catalogue().pairs.T.tolist() if pair[0] != ALONE]))
    assert score(fusion, ALONE, 6) == pytest.approx(score(alone, ALONE, 6))


def test_two_users_rank_differently_and_an_additive_score_cannot():
    grid = built().grid(torch.arange(USERS), torch.arange(ITEMS)).detach().numpy()
    assert kendalltau(grid[0], grid[1]).statistic < 0.9
    additive = grid.mean(1, keepdims=True) + grid.mean(0) - grid.mean()
    assert kendalltau(additive[0], additive[1]).statistic == pytest.approx(1)


def test_the_start_is_not_additive_either():
    """With a product of two zero starts nothing would ever be learnt."""
    grid = DotFusion(catalogue(), width=WIDTH).eval().grid(torch.arange(USERS), torch.arange(ITEMS)).detach()
    rest = grid - grid.mean(1, keepdim=True) - grid.mean(0) + grid.mean()
    assert rest.abs().max() > 1e-3


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("text", WARM),
        ("item_features", WARM),
        ("user_features", WARM),
        ("user_text", WARM),
        ("item_ids", WARM),
        ("item_bias", WARM),
        ("user_ids", WARM),
        ("user_bias", WARM),
        ("history", 2),
        ("text_map", 0),
        ("item_map", 0),
        ("user_map", 0),
        ("user_text_map", 0),
        ("constant", ...),
    ],
)
def test_every_input_changes_the_score(name, row):
    given = catalogue()
    given.item_features[WARM], given.user_features[WARM] = 1, 1
    fusion = built(given)
    before = score(fusion, WARM, WARM)
    with torch.no_grad():
        getattr(fusion, name)[row] += 0.5
    assert abs(score(fusion, WARM, WARM) - before) > 1e-3


@pytest.mark.parametrize(
    ("name", "row", "user", "item"),
    [
        ("item_ids", NEW_ITEM, WARM, NEW_ITEM),
        ("item_bias", NEW_ITEM, WARM, NEW_ITEM),
        ("user_ids", NEW_USER, NEW_USER, WARM),
        ("user_bias", NEW_USER, NEW_USER, WARM),
    ],
)
def test_vectors_of_unknown_ids_have_no_influence(name, row, user, item):
    fusion = built()
    before = score(fusion, user, item)
    with torch.no_grad():
        getattr(fusion, name)[row] += 10
    assert score(fusion, user, item) == before


def test_a_cold_user_is_known_by_what_was_shown():
    fusion = built()
    before = score(fusion, NEW_USER, 1)
    with torch.no_grad():
        fusion.history[3] += 1
    assert abs(score(fusion, NEW_USER, 1) - before) > 1e-3


@pytest.mark.parametrize("text_width", [2, DIM, 50])
def test_text_is_brought_to_its_principal_components(text_width):
    given = catalogue()
    fusion = DotFusion(given, width=WIDTH, text_width=text_width)
    pca = PCA(min(text_width, DIM)).fit(given.text[given.known_items])
    basis = fusion.text_basis.numpy()
    alike = np.abs(pca.components_ @ (basis / np.linalg.norm(basis, axis=0)))
    np.testing.assert_allclose(alike, np.eye(len(pca.components_)), atol=1e-4)
    x = (given.text - fusion.text_mean.numpy()) @ basis
    assert np.linalg.norm(x[given.known_items], axis=1).mean() == pytest.approx(1, abs=1e-5)


def test_text_statistics_come_from_items_of_train():
    given = catalogue()
    fusion = DotFusion(given, width=WIDTH)
    given.text[NEW_ITEM] = 1000
    other = DotFusion(given, width=WIDTH)
    assert torch.equal(fusion.text_mean, other.text_mean) and torch.equal(fusion.text_basis, other.text_basis)
    assert fusion.text[NEW_ITEM].max() < 100, "and the fusion owns its copy"


def test_the_scale_of_the_text_vectors_does_not_matter():
    large, small = built(catalogue(scale=64.0)), built()
    torch.testing.assert_close(large(*everything()), small(*everything()), rtol=1e-4, atol=1e-4)


def test_ids_may_start_where_their_texts_are():
    given = catalogue()
    start = DotFusion(given, width=WIDTH, start="text").item_ids.detach()
    pca = PCA(WIDTH).fit(given.text[given.known_items]).transform(given.text)
    got, want = start / start.norm(), torch.tensor(pca / np.linalg.norm(pca))
    torch.testing.assert_close(torch.cdist(got, got), torch.cdist(want, want))
    random = DotFusion(given, width=WIDTH).item_ids
    assert start[given.known_items].norm(dim=1).mean() == pytest.approx(random.norm(dim=1).mean().item(), rel=1e-5)
    wide = DotFusion(given, width=50, start="text").item_ids
    assert wide.shape == (ITEMS, 50) and not wide[:, DIM:].any(), "there are no more directions than numbers in a text"
    blank = DotFusion(catalogue(dim=0), width=WIDTH, start="text").item_ids
    assert torch.equal(blank, DotFusion(catalogue(dim=0), width=WIDTH).item_ids), "no text: at random"


def test_dropout_draws_from_the_given_generator_only():
    fusion = built(id_dropout=0.5, user_dropout=0.5).train()
    state = torch.get_rng_state()

    def seeded(seed):
        return fusion(*everything(), None, torch.Generator().manual_seed(seed)).detach()

    first = seeded(0)
    torch.manual_seed(99)
    assert torch.equal(first, seeded(0)) and not torch.equal(first, seeded(1))
    torch.set_rng_state(state)
    seeded(2)
    assert torch.equal(torch.get_rng_state(), state)


def test_dropout_hides_whole_ids_and_only_in_training():
    """At rate 1 every item is new, so that item ids do not matter; text does. The history goes with the user."""
    for rates, names in [((1.0, 0.0), ["item_ids"]), ((0.0, 1.0), ["user_ids", "history"])]:
        fusion = built(id_dropout=rates[0], user_dropout=rates[1])
        for name in names:
            before = fusion.train()(*everything(), None, torch.Generator()), fusion.eval()(*everything())
            with torch.no_grad():
                getattr(fusion, name).add_(1)
            after = fusion.train()(*everything(), None, torch.Generator()), fusion.eval()(*everything())
            assert torch.equal(before[0], after[0]) and not torch.allclose(before[1], after[1])


def test_an_item_is_dropped_for_all_of_its_pairs_at_the_rate():
    rate, times = 0.3, 400
    fusion, draw = built(id_dropout=rate, user_dropout=0.0).train(), torch.Generator().manual_seed(0)
    users, items = torch.tensor([0, 1, 2, 0]), torch.tensor([4, 4, 4, 5])
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.zero_()
        fusion.item_bias.fill_(1)
        kept = torch.stack([fusion(users, items, None, draw) for _ in range(times)])
    assert (kept[:, :3] == kept[:, :1]).all() and not torch.equal(kept[:, 0], kept[:, 3])
    assert abs(kept[:, 0].mean() - (1 - rate)) < 4 * (rate * (1 - rate) / times) ** 0.5


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("method", ["forward", "grid"])
def test_gradients_are_right(training, method):
    fusion = built(id_dropout=0.3, user_dropout=0.3).train(training)
    names, values = zip(*fusion.named_parameters(), strict=True)
    users, items = (torch.tensor([0, 4, 5, 3]), torch.tensor([1, 6, 8, 2]))

    def run(*parameters):
        bound = dict(zip((f"fusion.{name}" for name in names), parameters, strict=True))
        return functional_call(Method(fusion, method), bound, (users, items, None, torch.Generator().manual_seed(0)))

    assert torch.autograd.gradcheck(run, tuple(value.detach().requires_grad_() for value in values))


class Method(torch.nn.Module):
    """forward or grid of a fusion, as functional_call wants it."""

    def __init__(self, fusion, name):
        super().__init__()
        self.fusion, self.name = fusion, name

    def forward(self, *args):
        return getattr(self.fusion, self.name)(*args)


def test_a_batch_of_one_and_of_none():
    fusion = built()
    users, items = everything()
    flat = fusion(users, items)
    torch.testing.assert_close(fusion(users[17:18], items[17:18]), flat[17:18])
    assert fusion(users[:0], items[:0]).shape == (0,) and fusion.grid(users[:0], items[:3]).shape == (0, 3)


def test_nobody_has_a_history():
    fusion = built(catalogue(pairs=[])).train()
    flat = fusion(*everything(), None, torch.Generator().manual_seed(0))
    flat.sum().backward()
    assert flat.isfinite().all() and all(p.grad is None or p.grad.isfinite().all() for p in fusion.parameters())
    assert fusion.eval().grid(torch.arange(USERS), torch.arange(ITEMS)).isfinite().all()
    assert not fusion.met(*everything()).any()
    assert set(fusion.parts(0, torch.arange(ITEMS))) == {BASE, USER, *ITEM_PARTS}


@pytest.mark.parametrize("dim", [0, DIM])
def test_without_text_and_with_blank_text(dim):
    given = catalogue(dim=dim)
    given.text[:] = 0
    fusion = built(given)
    flat = fusion(*everything())
    flat.sum().backward()
    assert flat.isfinite().all() and fusion.text_map.grad.abs().sum() == 0
    assert fusion.parts(0, torch.arange(ITEMS))["item text"].abs().sum() == 0


@pytest.mark.parametrize("dim", [0, DIM])
def test_the_parameter_count_is_the_documented_one(dim):
    fusion = DotFusion(catalogue(dim=dim), width=WIDTH)
    features, ids = dim + min(dim, USERS - 1) + TAGS + PROFILE, USERS + ITEMS
    documented = features * (WIDTH + 1) + ids * (WIDTH + 1) + ITEMS * WIDTH + 1
    assert sum(p.numel() for p in fusion.parameters()) == documented
    groups = [id(p) for group in fusion.groups().values() for p in group]
    assert sorted(groups) == sorted(id(p) for p in fusion.parameters()), "each parameter is in one group"


@pytest.mark.parametrize("table", [0, 10**8], ids=["searched", "looked up"])
def test_met_is_membership(table, monkeypatch):
    monkeypatch.setattr(vectors, "TABLE", table)
    pairs = set(map(tuple, catalogue().pairs.T.tolist()))
    users, items = everything()
    want = [pair in pairs for pair in zip(users.tolist(), items.tolist(), strict=True)]
    assert built().met(users, items).tolist() == want
    grid = built().met(torch.arange(USERS)[:, None], torch.arange(ITEMS)[None, :])
    assert grid.reshape(-1).tolist() == want


def test_the_order_of_the_pairs_does_not_matter():
    pairs = catalogue().pairs.T.tolist()
    assert torch.equal(built(catalogue(pairs=pairs[::-1]))(*everything()), built()(*everything()))


def test_the_start_depends_on_the_seed_alone():
    def start(seed):
        return torch.cat([p.reshape(-1) for p in DotFusion(catalogue(), width=WIDTH, seed=seed).parameters()])

    state = torch.get_rng_state()
    assert torch.equal(start(0), start(0)) and not torch.equal(start(0), start(1))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_sums_of_histories_and_their_gradient():
    """As `embedding_bag` has them; user 3 has no history, and an item that was only shown adds nothing."""
    fusion = built(catalogue(pairs=[(0, 1), (0, NEW_ITEM), (1, 1), (1, 2), (4, 6)]))
    users, table = torch.tensor([4, 0, 3, 1]), fusion.history
    weight = torch.randn(len(users), WIDTH, dtype=torch.float64)
    bags = torch.tensor([6, 1, 1, 2]), table, torch.tensor([0, 1, 2, 2])
    want = torch.nn.functional.embedding_bag(*bags, mode="sum")
    got = fusion.totals(users)
    assert torch.equal(got, want)
    (slope,), (want,) = (torch.autograd.grad((sums * weight).sum(), table) for sums in (got, want))
    assert torch.equal(slope, want)
