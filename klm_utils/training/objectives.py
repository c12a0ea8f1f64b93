"""What `fit` lowers and what it watches: a task for each objective and loss.

"label", will this user like it? The rows of train:
    squared_error     of the rating
    bce               of the label
    ordinal           of the rating as a grade, with thresholds at the log-odds of the grades' shares in train
    bpr               each liked row against a disliked one of the same user, drawn anew each time

"interaction", what will this user choose? The choices of train:
    bce               all pairs of known users and items; a sample of them where the fusion scores pair by pair
    softmax           each choice against all known items
    sampled_softmax   each choice against `SAMPLE` items, drawn as often as they were chosen, with the log-q correction
    info_nce          each choice against those of the other rows of the batch, with the log-q correction
    bpr               each choice against an item that the user has not chosen, drawn anew each time

Where the language model is trained, a step must say which items it scores, since their texts are read anew: "label"
then goes through items with all their rows, "interaction" through items with all users as ever, and info_nce through
choices, of which only the items of the batch count. The other losses score more items than a step can read.

The losses that compare things within one user (softmax, sampled_softmax, info_nce, both bpr) leave the level of a
user's scores free: they rank, and their scores say nothing from user to user.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import embedding

from klm_utils import losses
from klm_utils.data.catalogue import need_both_labels
from klm_utils.errors import ConfigError, DataError
from klm_utils.evaluation import metrics, ranking

LOSSES = {
    "label": ("squared_error", "bce", "ordinal", "bpr"),
    "interaction": ("bce", "softmax", "sampled_softmax", "info_nce", "bpr"),
}
BY_POPULARITY = ("sampled_softmax", "info_nce")  # draw negatives as often as they were chosen
NEGATIVES = 4  # users for each choice of "bce", where a fusion cannot score all pairs at once
SAMPLE = 20  # items for each choice of "sampled_softmax"


@dataclass(frozen=True)
class Task:
    """What to go through in each epoch.

    n: things, `batch` of them at a step.
    loss: mean loss of some of them: (positions, generator) -> tensor.
    items: their items, each once: positions -> int tensor; None: too many to be read anew in each step.
    terms: how many terms that mean has; None: no two processes can share a step, which in parts would draw other
        negatives or count other terms.
    valid, metric: the value on valid and its name; valid_items: the items that it scores.
    start: of the constant in the score.
    """

    n: int
    batch: int
    loss: Callable[[torch.Tensor, torch.Generator], torch.Tensor]
    items: Callable[[torch.Tensor], torch.Tensor] | None
    terms: Callable[[torch.Tensor], int] | None
    valid: Callable[[], float]
    metric: str
    valid_items: torch.Tensor
    start: float


def task(model, split, config) -> Task:
    """The task of a `TrainConfig`.

    Raises:
        DataError: train or valid has only one label; nothing in train is chosen, or everything; one rating only for
            "ordinal"; no user with both labels for "bpr".
        ConfigError: "softmax" for a fusion that scores pair by pair; a loss that scores more items than a step can
            read, where the language model is trained.
    """
    made = (_label_task if config.objective == "label" else _interaction_task)(model, split, config)
    if model.texts is not None and made.items is None:
        raise ConfigError(
            "this loss scores more items than a step can read",
            where=f"fit, mode {model.about['mode']!r}",
            found=f"loss={config.loss!r}, fusion={model.about['fusion']!r}",
            expected='the default loss of the objective, "bce", "ordinal", or "info_nce"',
            remedy="train another loss, or a frozen model",
        )
    return made


def _label_task(model, split, config) -> Task:
    """Rows of train; AUC of the labels of valid."""
    need_both_labels(split)
    need_both_labels(split, "valid")  # without both no AUC says when to stop
    fusion, train, valid = model.fusion, split.train, split.valid["label"].to_numpy()
    users, items = model.positions(train["user_id"], train["item_id"])
    name = config.loss or ("squared_error" if train["rating"].nunique() > 2 else "bce")
    seen = model.positions(split.valid["user_id"], split.valid["item_id"])[1].unique()

    def auc():
        return metrics.auc(valid, model.scores(split.valid["user_id"], split.valid["item_id"]))

    def of_rows(loss, start):
        if model.texts is None:
            return Task(len(y), config.batch, loss, None, len, auc, "auc", seen, start)
        known, rows, size = _by_item(items)
        batch = max(1, round(config.batch * len(known) / len(items)))
        return Task(len(known), batch, lambda at, draw: loss(rows(at), draw), lambda at: known[at],
                    lambda at: int(size[at].sum()), auc, "auc", seen, start)  # fmt: skip

    if name == "bpr":
        n, loss = _liked_against_disliked(fusion, users, items, torch.tensor(train["label"].to_numpy() == 1))
        return Task(n, config.batch, loss, None, None, auc, "auc", seen, 0.0)
    if name == "ordinal":
        grades, y = np.unique(train["rating"], return_inverse=True)
        y, share = torch.tensor(y), torch.tensor(np.bincount(y) / len(y), dtype=torch.float32).cumsum(0)[:-1]
        if not len(share):
            raise DataError(
                "one grade has no order",
                where="split.train, rating",
                found=grades.tolist(),
                expected="two or more different ratings",
                remedy='use loss="bce"',
            )
        thresholds = share.logit()
        return of_rows(lambda at, draw: losses.ordinal(fusion(users[at], items[at], draw), y[at], thresholds), 0.0)
    y = torch.tensor(train["rating" if name == "squared_error" else "label"].to_numpy(), dtype=torch.float32)
    y = y.to(users.device)
    error = losses.squared_error if name == "squared_error" else losses.bce_with_logits
    share = y.mean().item()
    start = share if name == "squared_error" else float(np.log(share / (1 - share)))
    return of_rows(lambda at, draw: error(fusion(users[at], items[at], draw), y[at]), start)


def _by_item(items: torch.Tensor) -> tuple[torch.Tensor, Callable, torch.Tensor]:
    """The different items of some rows; the rows of some of them, as a function of their places; how many each has."""
    known, which = items.unique(return_inverse=True)
    order, size = which.argsort(stable=True), torch.bincount(which)
    first = size.cumsum(0) - size

    def rows(at: torch.Tensor) -> torch.Tensor:
        spans = zip(first[at].tolist(), size[at].tolist(), strict=True)
        return order[torch.cat([torch.arange(f, f + n) for f, n in spans])]

    return known, rows, size


def _liked_against_disliked(fusion, users: torch.Tensor, items: torch.Tensor, liked: torch.Tensor):
    """How many liked rows have a disliked one of the same user, and their loss."""
    disliked = (~liked).nonzero()[:, 0]
    disliked = disliked[users[disliked].argsort(stable=True)]
    size = torch.bincount(users[disliked], minlength=int(users.max()) + 1)
    first = size.cumsum(0) - size
    rows = (liked & (size[users] > 0)).nonzero()[:, 0]
    if not len(rows):
        raise DataError(
            "nobody likes one thing and dislikes another",
            where="split.train",
            found=f"{int(liked.sum())} liked and {len(disliked)} disliked rows, of different users",
            expected="users with both",
            remedy='use loss="bce"',
        )

    def loss(at, draw):
        chosen = rows[at]
        u = users[chosen]
        other = disliked[first[u] + (torch.rand(len(u), generator=draw) * size[u]).long()]
        scores = fusion(torch.cat([u, u]), torch.cat([items[chosen], items[other]]), draw)
        return losses.bpr(*scores.chunk(2))

    return len(rows), loss


def _interaction_task(model, split, config) -> Task:
    """The choices of train against the rest; nDCG@10 on valid."""
    fusion = model.fusion
    users, items = fusion.known_users[:, 0].nonzero()[:, 0], fusion.known_items[:, 0].nonzero()[:, 0]

    def ndcg():
        among = "part" if split.name == "cold_item" else "all"
        return ranking.rank(model, split, k=10, part="valid", among=among).values["ndcg@10"].mean()

    density = len(fusion.pairs) / (len(users) * len(items))
    if not 0 < density < 1:
        raise DataError(
            "there is nothing to tell apart in train",
            where="split.train",
            found=f"{len(fusion.pairs)} chosen of {len(users) * len(items)} pairs",
            expected="chosen pairs and others",
            remedy="use more data",
        )
    seen = _rankable(model, split)
    if config.loss in (None, "bce"):
        loss = _all_pairs(fusion, users, items) if fusion.full_matrix else _sampled_pairs(fusion, users, items)
        terms = len if fusion.full_matrix else None
        return Task(len(items), config.batch, loss, lambda at: items[at], terms, ndcg, "ndcg@10", seen,
                    float(np.log(density / (1 - density))))  # fmt: skip
    u, i = _choices(fusion)
    share = torch.bincount(i, minlength=len(fusion.known_items)).float() / len(i)  # of all choices, of each item
    if config.loss in BY_POPULARITY:
        make = _sampled_softmax if config.loss == "sampled_softmax" else _info_nce
        loss = make(fusion, u, i, share, config.log_q)
    else:
        loss = (_softmax if config.loss == "softmax" else _against_one)(fusion, u, i, items)
    read = (lambda at: i[at].unique()) if config.loss == "info_nce" else None
    return Task(len(u), config.batch, loss, read, None, ndcg, "ndcg@10", seen, 0.0)


def _rankable(model, split) -> torch.Tensor:
    """The items that are ranked on valid: all, or those of the part."""
    everything = torch.arange(len(model.items), device=model.fusion.constant.device)
    if split.name != "cold_item":
        return everything
    return everything[model.items.index.isin(split.valid["item_id"])]


def _choices(fusion) -> tuple[torch.Tensor, torch.Tensor]:
    """(user, item) positions of what known users chose, sorted by user."""
    u, i = fusion.pairs // len(fusion.known_items), fusion.pairs % len(fusion.known_items)
    known = fusion.known_users[u, 0]
    return u[known], i[known]


def _all_pairs(fusion, users: torch.Tensor, items: torch.Tensor) -> Callable:
    """Some items with all users: chosen or not."""

    def loss(at, draw):
        chosen = fusion.met(users[:, None], items[at][None, :]).float()
        return losses.bce_with_logits(fusion.grid(users, items[at], draw), chosen)

    return loss


def _sampled_pairs(fusion, users: torch.Tensor, items: torch.Tensor) -> Callable:
    """The same loss for a fusion that scores pair by pair: the choices of the items and `NEGATIVES` times as many users
    drawn at random for each item, of whom those who chose it are left out.

    A pair that was not chosen is in the sample with rate r = draws / users, one that was chosen always. So the odds in
    the sample are 1 / r times the true ones, and log r is taken off the score: the score itself is that of all pairs.

    Source: Bengio and Senecal 2008, Adaptive importance sampling; the correction as in Yi et al. 2019, Sampling-bias-
    corrected neural modeling, section 3 (log q), with one rate per item.
    """
    u, i = _choices(fusion)
    order = i.argsort(stable=True)
    u, size = u[order], torch.bincount(i, minlength=len(fusion.known_items))
    first = size.cumsum(0) - size

    def loss(at, draw):
        chosen = items[at]
        rows = torch.cat(
            [torch.arange(f, f + n) for f, n in zip(first[chosen].tolist(), size[chosen].tolist(), strict=True)]
        )
        draws = NEGATIVES * size[chosen].clamp_min(1)  # an item that nobody chose is met as well
        others = users[torch.randint(len(users), (int(draws.sum()),), generator=draw)]
        of = torch.cat([chosen.repeat_interleave(size[chosen]), chosen.repeat_interleave(draws)])
        who, y = torch.cat([u[rows], others]), torch.cat([torch.ones(len(rows)), torch.zeros(len(others))])
        keep = (y == 1) | ~fusion.met(who, of)
        rate = (NEGATIVES * size[of].clamp_min(1)).float() / len(users)
        return losses.bce_with_logits((fusion(who, of, draw) - rate.log())[keep], y[keep])

    return loss


def _softmax(fusion, u: torch.Tensor, i: torch.Tensor, items: torch.Tensor) -> Callable:
    if not fusion.full_matrix:
        raise ConfigError(
            "a softmax over all items needs a score of every pair",
            where='TrainConfig(loss="softmax")',
            found=f"{type(fusion).__name__}, which scores pair by pair",
            expected='fusion="dot"',
            remedy='use loss="sampled_softmax"',
        )
    place = torch.searchsorted(items, i)

    def loss(at, draw):
        users, row = u[at].unique(return_inverse=True)
        return losses.cross_entropy(embedding(row, fusion.grid(users, items, draw)), place[at])

    return loss


def _sampled_softmax(fusion, u: torch.Tensor, i: torch.Tensor, share: torch.Tensor, corrected: bool) -> Callable:
    log_q = share.log() if corrected else torch.zeros_like(share)

    def loss(at, draw):
        others = share.multinomial(SAMPLE * len(at), replacement=True, generator=draw).view(len(at), -1)
        of = torch.cat([i[at][:, None], others], 1)
        z = fusion(u[at].repeat_interleave(of.shape[1]), of.flatten(), draw).view_as(of)
        hits = of == i[at][:, None]
        hits[:, 0] = False
        return losses.sampled_softmax(z, log_q[of], hits=hits)

    return loss


def _info_nce(fusion, u: torch.Tensor, i: torch.Tensor, share: torch.Tensor, corrected: bool) -> Callable:
    log_q = share.log() if corrected else torch.zeros_like(share)

    def loss(at, draw):
        if len(at) < 2:  # a last batch of one row has no negatives
            return 0 * fusion(u[at], i[at], draw).sum()
        return losses.info_nce(fusion.grid(u[at], i[at], draw), log_q[i[at]], items=i[at])

    return loss


def _against_one(fusion, u: torch.Tensor, i: torch.Tensor, items: torch.Tensor) -> Callable:
    def loss(at, draw):
        other = items[torch.randint(len(items), (len(at),), generator=draw)]
        better, worse = fusion(torch.cat([u[at], u[at]]), torch.cat([i[at], other]), draw).chunk(2)
        keep = (~fusion.met(u[at], other)).float()
        return losses.bpr(better, worse, "sum", keep) / keep.sum().clamp_min(1)  # of a small batch none may be left

    return loss
