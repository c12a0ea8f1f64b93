"""What `fit` lowers and what it watches: a task for each kind of thing that a step goes through.

`Rows` ("label", will this user like it?) goes through the rows of train:
    squared_error     of the rating
    bce               of the label
    ordinal           of the rating as a grade, with thresholds at the log-odds of the grades' shares in train
    bpr               each liked row against a disliked one of the same user, drawn anew each time

`Grid` ("interaction", what will this user choose?) goes through the items of train, each with all users:
    bce               chosen or not, of all pairs; of a sample of them where the fusion scores pair by pair

`Choices` ("interaction") goes through the choices of train:
    softmax           each against all known items
    sampled_softmax   each against `sample` items, drawn as often as they were chosen, with the log-q correction
    info_nce          each against those of the other rows of the batch, with the log-q correction
    bpr               each against an item that the user has not chosen, drawn anew each time

Where the language model is trained, a step must say which items it scores, since their texts are read anew: `Rows` then
goes through items with all their rows, `Grid` through items as ever, and info_nce has those of its batch. The other
losses score more items than a step can read.

The losses that compare things within one user (softmax, sampled_softmax, info_nce, both bpr) leave the level of a
user's scores free: they rank, and their scores say nothing from user to user.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import Generator, Tensor
from torch.nn.functional import embedding

from klm_utils import losses
from klm_utils.data.catalogue import known_pairs, need_both_labels
from klm_utils.data.splits import Split
from klm_utils.errors import ConfigError, DataError
from klm_utils.evaluation import metrics, ranking
from klm_utils.fusion.vectors import Vectors
from klm_utils.models.recommender import KLMRecommender
from klm_utils.training import distributed
from klm_utils.training.config import TrainConfig


class Task:
    """What to go through in each epoch: `n` things, `batch` of them at a step.

    start: of the constant in the score. metric: the name of what `valid` returns, "" where there is no valid. reads:
    whether the items of a step are few enough for a language model to read. shared: whether processes can share a
    step, which in parts must draw the same negatives and count the same terms.
    """

    metric = "ndcg@10"
    start = 0.0
    reads = shared = False
    known: Tensor  # the items of train, by position

    def __init__(self, model: KLMRecommender, split: Split, config: TrainConfig, n: int):
        self.model, self.split, self.config, self.n, self.batch = model, split, config, n, config.batch
        self.metric = self.metric if len(split.valid) else ""

    def batches(self, draw: Generator) -> list[Tensor]:
        """Positions of the things of each step of an epoch, int [batch] each."""
        return [at.to(self.model.device) for at in torch.randperm(self.n, generator=draw).split(self.batch)]

    def terms(self, at: Tensor) -> int:
        """How many terms the mean in `loss` has."""
        return len(at)

    def items(self, at: Tensor) -> Tensor:
        """The items of a step, by position, each once."""
        return self.known[at]

    def loss(self, at: Tensor, text: Tensor | None, draw: Generator) -> Tensor:
        """Mean loss of these things. text: vectors of `items(at)`; None: those that the model has stored."""
        raise NotImplementedError

    def valid(self) -> float:
        """How good the model is on valid now; more is better."""
        among = "part" if self.split.name == "cold_item" else "all"
        return ranking.rank(self.model, self.split, k=10, part="valid", among=among).values["ndcg@10"].mean()

    def valid_items(self) -> Tensor:
        """The items that `valid` scores, by position."""
        everything = torch.arange(len(self.model.items), device=self.model.device)
        if self.split.name != "cold_item":
            return everything
        cold = self.model.items.index.isin(self.split.valid["item_id"])
        return everything[torch.from_numpy(cold).to(everything.device)]


class Rows(Task):
    """Rows of train; AUC of the labels of valid."""

    metric = "auc"
    reads = shared = True

    def __init__(self, model: KLMRecommender, split: Split, config: TrainConfig):
        train = split.train
        super().__init__(model, split, config, len(train))
        need_both_labels(split)
        if self.metric:
            need_both_labels(split, "valid")  # without both no AUC says when to stop
        elif config.loss != "bce" and model.scale == 1 and model.shift == 0:
            what, expected = "nothing says which probability a score stands for", "rows of valid, or a logit"
            remedy = 'loss="bce", or copy scale and shift of a model that has a valid: model.scale.copy_(other.scale)'
            raise ConfigError(what, "fit without valid", f"loss={config.loss!r}", expected, remedy)
        self.users, self.row_items = model.positions(train["user_id"], train["item_id"])
        self.error, self.target, self.start = _targets(train, config.loss, model.device)
        self.by_item = model.texts is not None
        if self.by_item:
            self.known, which = self.row_items.unique(return_inverse=True)
            self.order, self.size = which.argsort(stable=True), torch.bincount(which)
            self.first = self.size.cumsum(0) - self.size
            self.n, self.batch = len(self.known), max(1, round(config.batch * len(self.known) / len(train)))

    def terms(self, at: Tensor) -> int:
        return int(self.size[at].sum()) if self.by_item else len(at)

    def loss(self, at: Tensor, text: Tensor | None, draw: Generator) -> Tensor:
        rows = self.order[_spans(self.first[at], self.size[at])] if self.by_item else at
        if text is not None:
            text = embedding(torch.arange(len(at), device=at.device).repeat_interleave(self.size[at]), text)
        return self.error(self.model(self.users[rows], self.row_items[rows], text, draw), self.target[rows])

    def valid(self) -> float:
        valid = self.split.valid
        return metrics.auc(valid["label"].to_numpy(), self.model.scores(valid["user_id"], valid["item_id"]))

    def valid_items(self) -> Tensor:
        return self.model.positions(self.split.valid["user_id"], self.split.valid["item_id"])[1].unique()


class LikedRows(Rows):
    """Liked rows of train, each against a disliked one of the same user: "bpr"."""

    reads = shared = False

    def __init__(self, model: KLMRecommender, split: Split, config: TrainConfig):
        super().__init__(model, split, config)
        liked, self.start = self.target == 1, 0.0
        disliked = (~liked).nonzero()[:, 0]
        self.disliked = disliked[self.users[disliked].argsort(stable=True)]
        self.size = torch.bincount(self.users[disliked], minlength=len(model.users))  # of each user
        self.first = self.size.cumsum(0) - self.size
        self.liked = (liked & (self.size[self.users] > 0)).nonzero()[:, 0]
        self.by_item, self.n, self.batch = False, len(self.liked), config.batch
        if not self.n:
            what, found = "nobody likes one thing and dislikes another", f"{int(liked.sum())} of {len(liked)} liked"
            raise DataError(what, "split.train", found, "users with rows of both labels", 'use loss="bce"')

    def loss(self, at: Tensor, text: Tensor | None, draw: Generator) -> Tensor:
        row = self.liked[at]
        u = self.users[row]
        luck = torch.rand(len(u), generator=draw).to(u.device)
        other = self.disliked[self.first[u] + (luck * self.size[u]).long()]
        scores = self.model(torch.cat([u, u]), torch.cat([self.row_items[row], self.row_items[other]]), text, draw)
        return losses.bpr(*scores.chunk(2))


class Grid(Task):
    """Items of train, each with all users: chosen or not."""

    reads = True

    def __init__(self, model: KLMRecommender, split: Split, config: TrainConfig):
        fusion = model.fusion
        self.known = fusion.known_items[:, 0].nonzero()[:, 0]
        self.people = fusion.known_users[:, 0].nonzero()[:, 0]
        super().__init__(model, split, config, len(self.known))
        density = len(fusion.pairs) / (len(self.people) * len(self.known))
        self.start = float(np.log(density / (1 - density)))
        self.shared = fusion.full_matrix
        if not self.shared:
            u, i = _choices(fusion)
            self.who, self.size = u[i.argsort(stable=True)], torch.bincount(i, minlength=len(fusion.known_items))
            self.first = self.size.cumsum(0) - self.size

    def loss(self, at: Tensor, text: Tensor | None, draw: Generator) -> Tensor:
        items = self.known[at]
        if not self.shared:
            return self._of_a_sample(items, text, draw)
        chosen = self.model.fusion.met(self.people[:, None], items[None, :]).float()
        return losses.bce_with_logits(self.model.grid(self.people, items, text, draw), chosen)

    def _of_a_sample(self, items: Tensor, text: Tensor | None, draw: Generator) -> Tensor:
        """The same loss for a fusion that scores pair by pair: the choices of the items, and `negatives` times as many
        users drawn at random for each item, of whom those who chose it are left out.

        A pair that was not chosen is in the sample with rate r = draws / users, one that was chosen always. So the odds
        in the sample are 1 / r times the true ones, and log r is taken off the score: the score is that of all pairs.

        Source: Bengio and Senecal 2008, Adaptive importance sampling; the correction as in Yi et al. 2019, Sampling-
        bias-corrected neural modeling, section 3 (log q), with one rate per item.
        """
        chosen = self.who[_spans(self.first[items], self.size[items])]
        draws = self.config.negatives * self.size[items].clamp_min(1)  # an item that nobody chose is met as well
        others = self.people[torch.randint(len(self.people), (int(draws.sum()),), generator=draw).to(items.device)]
        place = torch.arange(len(items), device=items.device)
        place = torch.cat([place.repeat_interleave(self.size[items]), place.repeat_interleave(draws)])
        who, of = torch.cat([chosen, others]), items[place]
        y = torch.cat([torch.ones_like(chosen), torch.zeros_like(others)]).float()
        keep = (y == 1) | ~self.model.fusion.met(who, of)
        rate = (self.config.negatives * self.size[of].clamp_min(1)).float() / len(self.people)
        z = self.model(who, of, None if text is None else embedding(place, text), draw)
        return losses.bce_with_logits((z - rate.log())[keep], y[keep])


class Choices(Task):
    """Choices of train, each against other items."""

    def __init__(self, model: KLMRecommender, split: Split, config: TrainConfig):
        self.u, self.i = _choices(model.fusion)
        super().__init__(model, split, config, len(self.u))
        self.known = model.fusion.known_items[:, 0].nonzero()[:, 0]
        self.name, self.reads = config.loss, config.loss == "info_nce"
        self.share = torch.bincount(self.i, minlength=len(model.items)).cpu().float() / self.n  # of each item
        self.log_q = (self.share.log() if config.log_q else torch.zeros_like(self.share)).to(model.device)
        if self.name == "softmax" and not model.fusion.full_matrix:
            what, found = "a softmax over all items needs a score of every pair", type(model.fusion).__name__
            raise ConfigError(what, 'TrainConfig(loss="softmax")', found, 'fusion="dot"', 'loss="sampled_softmax"')

    def items(self, at: Tensor) -> Tensor:
        return self.i[at].unique()

    def loss(self, at: Tensor, text: Tensor | None, draw: Generator) -> Tensor:
        return getattr(self, f"_{self.name}")(self.u[at], self.i[at], text, draw)

    def _softmax(self, u: Tensor, i: Tensor, text: Tensor | None, draw: Generator) -> Tensor:
        users, row = u.unique(return_inverse=True)
        z = self.model.grid(users, self.known, text, draw)
        return losses.cross_entropy(embedding(row, z), torch.searchsorted(self.known, i))

    def _sampled_softmax(self, u: Tensor, i: Tensor, text: Tensor | None, draw: Generator) -> Tensor:
        others = self.share.multinomial(self.config.sample * len(i), replacement=True, generator=draw).to(i.device)
        of = torch.cat([i[:, None], others.view(len(i), -1)], 1)
        z = self.model(u.repeat_interleave(of.shape[1]), of.flatten(), text, draw).view_as(of)
        hits = of == i[:, None]
        hits[:, 0] = False
        return losses.sampled_softmax(z, self.log_q[of], hits=hits)

    def _info_nce(self, u: Tensor, i: Tensor, text: Tensor | None, draw: Generator) -> Tensor:
        if text is not None:
            text = embedding(torch.searchsorted(i.unique(), i), text)
        if len(i) < 2:  # a last batch of one row has no negatives
            return 0 * self.model(u, i, text, draw).sum()
        return losses.info_nce(self.model.grid(u, i, text, draw), self.log_q[i], items=i)

    def _bpr(self, u: Tensor, i: Tensor, text: Tensor | None, draw: Generator) -> Tensor:
        other = self.known[torch.randint(len(self.known), (len(i),), generator=draw).to(i.device)]
        better, worse = self.model(torch.cat([u, u]), torch.cat([i, other]), text, draw).chunk(2)
        keep = (~self.model.fusion.met(u, other)).float()
        return losses.bpr(better, worse, "sum", keep) / keep.sum().clamp_min(1)  # of a small batch none may be left


def task(model: KLMRecommender, split: Split, config: TrainConfig) -> Task:
    """The task of a `TrainConfig.of` a model and a split.

    Raises:
        DataError: train or valid has only one label; nothing in train is chosen, or everything; one rating only for
            "ordinal"; no user with both labels for "bpr".
        ConfigError: the model was built for another split, or its language model is to be trained and not here;
            "softmax" for a fusion that scores pair by pair; a loss that scores more items than a step can read, where
            the language model is trained, or that processes cannot share; no valid, where a score is no logit.
    """
    _need_its_split(model, split)
    kind: type[Rows | Grid | Choices] = Grid if config.loss == "bce" else Choices
    if config.objective == "label":
        kind = LikedRows if config.loss == "bpr" else Rows
    else:
        _need_a_choice(model.fusion)
    made = kind(model, split, config)
    if model.texts is not None and not made.reads:
        where, found = f"fit, mode {model.about['mode']!r}", f"loss={config.loss!r}, fusion={model.about['fusion']!r}"
        expected = 'the default loss of the objective, "bce", "ordinal", or "info_nce"'
        remedy = "train another loss, or a frozen model"
        raise ConfigError("this loss scores more items than a step can read", where, found, expected, remedy)
    if distributed.world() > 1 and (not made.shared or config.mlm):
        what = "this loss cannot be shared between processes: in parts its steps would draw or count otherwise"
        expected = 'the default loss of the objective, "bce" or "ordinal", and mlm=0'
        found = f"loss={config.loss!r}, mlm={config.mlm}"
        raise ConfigError(what, "fit under torchrun", found, expected, "train in one process")
    return made


def _need_its_split(model: KLMRecommender, split: Split) -> None:
    """Refuse a split that the model was not built for: its history may hold what it is tested on."""
    known, own = known_pairs(split, model.users, model.items.index), model.about["protocol"]
    if own != split.protocol or not torch.equal(model.fusion.pairs.cpu(), known):
        what, remedy = "the model was built for another split, or another log", "train it on the split of from_split"
        raise ConfigError(what, "fit(model, split)", split.protocol, own, remedy)
    if model.about["mode"] != "frozen" and model.texts is None:
        what = "the language model that this model trains is not here: a saved model holds only the vectors"
        found = f"a saved model of mode {model.about['mode']!r}"
        remedy = "build it anew; an unfinished training goes on from its checkpoint_dir"
        raise ConfigError(what, "fit(model)", found, "a model from from_split", remedy)


def _targets(train: pd.DataFrame, name: str, device: torch.device) -> tuple[Callable[..., Tensor], Tensor, float]:
    """The error of scores and targets, the target of each row, and the constant that a score should start at."""
    if name == "ordinal":
        grades, y = np.unique(train["rating"], return_inverse=True)
        if len(grades) < 2:
            what, expected = "one grade has no order", "two or more different ratings"
            raise DataError(what, "split.train, rating", grades.tolist(), expected, 'use loss="bce"')
        share = torch.tensor(np.bincount(y) / len(y), dtype=torch.float32).cumsum(0)[:-1]
        thresholds = share.logit().to(device)
        return lambda z, y: losses.ordinal(z, y, thresholds), torch.tensor(y, device=device), 0.0
    y = train["rating" if name == "squared_error" else "label"].to_numpy()
    target = torch.tensor(y, dtype=torch.float32, device=device)
    mean = target.mean().item()
    if name == "squared_error":
        return losses.squared_error, target, mean
    return losses.bce_with_logits, target, float(np.log(mean / (1 - mean)))


def _need_a_choice(fusion: Vectors) -> None:
    pairs = int(fusion.known_users.sum()) * int(fusion.known_items.sum())
    if not 0 < len(fusion.pairs) < pairs:
        what, found = "there is nothing to tell apart in train", f"{len(fusion.pairs)} chosen of {pairs} pairs"
        remedy = 'objective="label", if there are labels or ratings of both kinds; else more data'
        raise DataError(what, "split.train", found, "chosen pairs and others", remedy)


def _choices(fusion: Vectors) -> tuple[Tensor, Tensor]:
    """(user, item) positions of what known users chose, sorted by user."""
    u, i = fusion.pairs // len(fusion.known_items), fusion.pairs % len(fusion.known_items)
    known = fusion.known_users[u, 0]
    return u[known], i[known]


def _spans(first: Tensor, size: Tensor) -> Tensor:
    """first[0], first[0] + 1, ... of length size[0]; then the next one, and so on."""
    before = size.cumsum(0) - size
    return torch.arange(int(size.sum()), device=size.device) + (first - before).repeat_interleave(size)
