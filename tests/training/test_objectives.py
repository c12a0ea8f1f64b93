"""What each loss of `fit` compares with what, against the same computed by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from worlds import INTERACTION, LABEL, planted, same

import klm_utils as klm
from klm_utils import losses
from klm_utils.errors import ConfigError, DataError
from klm_utils.training import objectives
from klm_utils.training.config import LOSSES


class Spy(torch.nn.Module):
    """A fusion that remembers which pairs it was asked for."""

    def __init__(self, fusion):
        super().__init__()
        self.fusion, self.asked, self.full_matrix = fusion, [], fusion.full_matrix

    def __getattr__(self, name):
        return super().__getattr__(name) if name in ("fusion", "asked") else getattr(self.fusion, name)

    def forward(self, users, items, text=None, draw=None):
        self.asked.append((users, items))
        return self.fusion(users, items, text, draw)

    def grid(self, users, items, text=None, draw=None):
        self.asked.append((users, items))
        return self.fusion.grid(users, items, text, draw)


def made(build, split, objective, loss):
    """(model whose fusion is a spy, task)."""
    model = build()
    model.fusion.eval()
    model.fusion = Spy(model.fusion)
    return model, objectives.task(model, split, klm.TrainConfig(objective, loss).of("frozen", split))


def generator():
    return torch.Generator().manual_seed(0)


def test_ordinal_parts_the_grades_at_their_shares(build, split):
    model, task = made(build, split, "label", "ordinal")
    at = torch.arange(20)
    value = task.loss(at, None, generator())
    y = np.unique(split.train["rating"], return_inverse=True)[1]
    share = np.cumsum(np.bincount(y) / len(y))[:-1]
    thresholds = torch.tensor(np.log(share / (1 - share)), dtype=torch.float32)
    users, items = model.positions(split.train["user_id"].iloc[:20], split.train["item_id"].iloc[:20])
    want = losses.ordinal(model.fusion.fusion(users, items), torch.tensor(y[:20]), thresholds)
    torch.testing.assert_close(value, want, rtol=1e-5, atol=1e-6)
    assert task.start == 0 and task.n == len(split.train)
    z = torch.zeros(len(y))
    assert losses.ordinal(z, torch.tensor(y), thresholds) == pytest.approx(
        -np.mean(np.log(np.bincount(y)[y] / len(y))), abs=1e-5
    ), "at a score of 0 each grade has its share"


def test_a_liked_row_meets_a_disliked_one_of_its_user(build, split):
    model, task = made(build, split, "label", "bpr")
    task.loss(torch.arange(task.n), None, generator())
    ((users, items),) = model.fusion.asked
    (u, v), (better, worse) = users.chunk(2), items.chunk(2)
    label = split.train.set_index(["user_id", "item_id"])["label"]
    ids, of = model.users[u.numpy()], model.items.index
    assert torch.equal(u, v)
    assert label.loc[list(zip(ids, of[better.numpy()], strict=True))].eq(1).all()
    assert label.loc[list(zip(ids, of[worse.numpy()], strict=True))].eq(0).all()
    both = split.train.groupby("user_id")["label"].nunique().eq(2)
    liked = split.train[split.train["label"].eq(1) & split.train["user_id"].map(both)]
    assert task.n == len(liked) and len(set(worse.tolist())) > 5


def test_softmax_is_over_all_known_items(build, split):
    model, task = made(build, split, "interaction", "softmax")
    at = torch.arange(0, task.n, 7)
    value = task.loss(at, None, generator())
    u, i = objectives._choices(model.fusion.fusion)
    known = model.fusion.known_items[:, 0].nonzero()[:, 0]
    z = model.fusion.fusion(u[at].repeat_interleave(len(known)), known.repeat(len(at))).view(len(at), -1)
    want = -(z.log_softmax(-1)[torch.arange(len(at)), (i[at][:, None] == known).int().argmax(1)]).mean()
    torch.testing.assert_close(value, want, rtol=1e-4, atol=1e-5)


def test_a_sample_is_drawn_by_popularity_and_corrected_for_it(build, split):
    model, task = made(build, split, "interaction", "sampled_softmax")
    at = torch.arange(task.n)
    value = task.loss(at, None, generator())
    users, items = model.fusion.asked[0]
    of = items.view(len(at), 1 + task.config.sample)
    u, i = objectives._choices(model.fusion.fusion)
    assert torch.equal(of[:, 0], i) and torch.equal(users.view_as(of)[:, 3], u)
    share = torch.bincount(i, minlength=len(model.items)).float() / len(i)
    drawn = torch.bincount(of[:, 1:].flatten(), minlength=len(model.items)).float() / of[:, 1:].numel()
    assert (drawn - share).abs().max() < 0.01
    z = (model.fusion.fusion(users, items).view_as(of) - share[of].log()).masked_fill(
        torch.cat([torch.zeros(len(of), 1, dtype=torch.bool), of[:, 1:] == of[:, :1]], 1), -torch.inf
    )
    torch.testing.assert_close(value, -z.log_softmax(-1)[:, 0].mean(), rtol=1e-5, atol=1e-6)


def test_in_a_batch_the_others_choices_are_the_negatives(build, split):
    model, task = made(build, split, "interaction", "info_nce")
    at = torch.arange(0, task.n, 9)
    value = task.loss(at, None, generator())
    ((users, items),) = model.fusion.asked
    u, i = objectives._choices(model.fusion.fusion)
    assert torch.equal(users, u[at]) and torch.equal(items, i[at]) and len(items.unique()) < len(items)
    share = torch.bincount(i, minlength=len(model.items)).float() / len(i)
    want = losses.info_nce(model.fusion.fusion.grid(users, items), share[items].log(), items=items)
    torch.testing.assert_close(value, want, rtol=1e-5, atol=1e-6)


def test_a_choice_meets_an_item_that_its_user_did_not_choose(build, split):
    model, task = made(build, split, "interaction", "bpr")
    at = torch.arange(task.n)
    value = task.loss(at, None, generator())
    users, items = model.fusion.asked[0]
    (u, _), (better, worse) = users.chunk(2), items.chunk(2)
    keep = ~model.fusion.met(u, worse)
    assert 0 < keep.float().mean() < 1 and model.fusion.met(u, better).all()
    a, b = model.fusion.fusion(users, items).chunk(2)
    torch.testing.assert_close(value, losses.bpr(a[keep], b[keep]), rtol=1e-5, atol=1e-6)


def test_a_batch_in_which_every_negative_was_chosen_is_no_news(build, split, monkeypatch):
    model, task = made(build, split, "interaction", "bpr")
    monkeypatch.setattr(model.fusion.fusion, "met", lambda u, i: torch.ones_like(u + i, dtype=torch.bool))
    assert task.loss(torch.arange(3), None, generator()) == 0


@pytest.mark.parametrize("loss", ["sampled_softmax", "info_nce"])
def test_without_log_q_popular_items_sink(split, build, loss):
    popular = split.train["item_id"].value_counts().index[:5]
    means = {}
    for log_q in (True, False):
        model = build()
        klm.fit(model, split, klm.TrainConfig(**INTERACTION | {"loss": loss, "log_q": log_q, "batch": 64, "epochs": 6}))
        users = split.train["user_id"].unique()
        of_all = model.scores(np.repeat(users, len(model.items)), np.tile(model.items.index, len(users)))
        of_popular = model.scores(np.repeat(users, 5), np.tile(popular, len(users)))
        means[log_q] = of_popular.mean() - of_all.mean()
    assert means[True] > means[False] + 0.2


def test_a_last_row_alone_teaches_nothing_and_harms_nothing(build, split):
    task = made(build, split, "interaction", "info_nce")[1]
    value = task.loss(torch.arange(1), None, generator())
    assert value == 0 and value.requires_grad


def test_all_items_at_once_want_a_product(split):
    model = klm.KLMRecommender.from_split(split, fusion="hadamard")
    with pytest.raises(ConfigError, match="sampled_softmax"):
        klm.fit(model, split, klm.TrainConfig(**INTERACTION | {"loss": "softmax"}))
    assert (
        klm.fit(model, split, klm.TrainConfig(**INTERACTION | {"loss": "sampled_softmax", "epochs": 1})).best_epoch == 1
    )


def test_grades_that_are_none(build):
    ds = planted()
    log = ds.interactions.assign(rating=4.0)
    split = klm.split(replace(ds, interactions=log), "random")
    model = klm.KLMRecommender.from_split(split)
    with pytest.raises(DataError, match="one grade has no order"):
        klm.fit(model, split, klm.TrainConfig(**LABEL | {"loss": "ordinal"}))


def test_users_of_one_mind():
    ds = planted()
    log = ds.interactions.assign(label=(ds.interactions["user_id"] % 2).astype("int64"))
    split = klm.split(replace(ds, interactions=log), "random")
    model = klm.KLMRecommender.from_split(split)
    with pytest.raises(DataError, match="nobody likes one thing"):
        klm.fit(model, split, klm.TrainConfig(**LABEL | {"loss": "bpr"}))


def test_equal_seeds_agree_under_every_loss(build, split):
    for objective, settings in (("label", LABEL), ("interaction", INTERACTION)):
        for loss in LOSSES[objective]:
            models = [build(), build()]
            for model in models:
                klm.fit(model, split, klm.TrainConfig(**settings | {"loss": loss, "epochs": 1}))
            assert same(*models), loss
