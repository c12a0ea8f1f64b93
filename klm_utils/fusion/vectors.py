"""What every fusion holds: vectors and biases of ids, texts, features and histories, looked up for the rows asked for.

A fusion is called with positions of users and items and returns a score each, of any size. What it needs to know of
the catalogue it holds itself, so that a saved model needs neither the data set nor the language model. A pair costs
the same whatever the number of items: only its own rows are computed.
"""

from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import nn
from torch.nn.functional import embedding, pad

from klm_utils.data.catalogue import Catalogue
from klm_utils.errors import check_choice, check_whole

TABLE = 10**8  # pairs of users and items up to which "has met" is looked up in a table, a byte each
UNKNOWN = -1  # the position of a user of whom nothing is known but a history that is given
BASE, USER = "average", "user"
ITEM_PARTS = ("item id", "item text", "item tags", "item facts")
Dropped = tuple[torch.Tensor | None, torch.Tensor | None]  # items, users that a step meets as if they were new, or None


class Vectors(nn.Module):
    """The tables of a fusion. A subclass says how they meet: `forward`, `grid`, `parts` and `overview`.

        item i    W_x B (x_i - mean) + W_f f_i + W_h h_i + keep_i [E_i, e_i]      text; tags, year; facts; id
        user u    W_t C (t_u - mean) + W_g g_u + keep_u [U_u, e_u]         profile as text, as features; id
        history   Y_j of each item j that u chose in train, or was shown for

    keep is 1 for ids that occur in train and 0 for others. In training a random share of items (`id_dropout`) and of
    users (`user_dropout`; attributes that `fit` sets) has keep 0, and such a user no history, so that those without an
    id vector, the cold ones, are nothing new. B and C hold principal directions of the text vectors.

    Args:
        catalogue: see `Catalogue`.
        width: of all vectors.
        text_width: principal components kept of the text vectors, fitted on the items, or users, of train.
        start: of the items' id vectors: "random", or "text", their first `width` principal components, for ids that
            should begin where their texts are.
        seed: of the start values.

    Parameters: (t + f + h + g) (width + 1) + (users + items) (width + 1) + items width + 1, where t is min(text_width,
    dim, items of train), and the same of users where profiles are texts.

    Source: Koren 2008, Factorization meets the neighborhood, section 4 (the history); Volkovs et al. 2017, DropoutNet
    (id dropout); Hou et al. 2022, UniSRec (text plus id).
    """

    full_matrix: bool  # whether `grid` costs one matrix product
    pairs_at_once: int  # that `forward` should be given at most: it bounds the memory
    text: torch.Tensor
    user_text: torch.Tensor
    text_mean: torch.Tensor
    text_basis: torch.Tensor
    user_text_mean: torch.Tensor
    user_text_basis: torch.Tensor
    item_features: torch.Tensor
    user_features: torch.Tensor
    facts: torch.Tensor
    known_items: torch.Tensor
    known_users: torch.Tensor
    pairs: torch.Tensor
    met_table: torch.Tensor | None
    history_size: torch.Tensor
    past_items: torch.Tensor
    past_size: torch.Tensor
    past_start: torch.Tensor

    def __init__(
        self, catalogue: Catalogue, width: int = 32, text_width: int = 32, start: str = "random", seed: int = 0
    ):
        super().__init__()
        width, text_width = check_whole("width", width), check_whole("text_width", text_width)
        check_choice("start", start, ("random", "text"))
        self.width = width
        self.id_dropout = self.user_dropout = 0.0
        for name in ("text", "user_text", "item_features", "user_features"):
            self.register_buffer(name, torch.tensor(getattr(catalogue, name), dtype=torch.float32))
        facts = np.zeros((len(catalogue.known_items), 0)) if catalogue.facts is None else catalogue.facts
        self.register_buffer("facts", torch.tensor(facts, dtype=torch.float32))
        self.register_buffer("known_items", torch.tensor(catalogue.known_items)[:, None])
        self.register_buffer("known_users", torch.tensor(catalogue.known_users)[:, None])
        items, users = len(catalogue.known_items), len(catalogue.known_users)
        user, item = np.asarray(catalogue.pairs, dtype=np.int64)
        self.register_buffer("pairs", torch.from_numpy(np.sort(user * items + item)))
        self.register_buffer("met_table", self._table(), persistent=False)
        size = torch.bincount(torch.from_numpy(user), minlength=users)
        self.register_buffer("history_size", size.float())
        trained = self.known_items[self.pairs % items, 0]  # one that was only shown has no trained vector
        self.register_buffer("past_items", (self.pairs % items)[trained], persistent=False)  # user after user
        self.register_buffer("past_size", torch.bincount((self.pairs // items)[trained], minlength=users), False)
        self.register_buffer("past_start", self.past_size.cumsum(0) - self.past_size, persistent=False)
        for name, known in (("text", self.known_items), ("user_text", self.known_users)):
            mean, basis = _principal(getattr(self, name)[known[:, 0]], text_width)
            self.register_buffer(f"{name}_mean", mean)
            self.register_buffer(f"{name}_basis", basis)

        draw = torch.Generator().manual_seed(seed)

        def normal(rows, columns, scale):
            return nn.Parameter(scale * torch.randn(rows, columns, generator=draw))

        self.constant = nn.Parameter(torch.zeros(()))
        self.text_map = normal(self.text_basis.shape[1], width + 1, 0.01)
        self.item_map = normal(self.item_features.shape[1], width + 1, 0.01)
        self.user_map = normal(self.user_features.shape[1], width + 1, 0.01)
        self.item_ids, self.user_ids = normal(items, width, 0.1), normal(users, width, 0.1)
        self.item_bias, self.user_bias = nn.Parameter(torch.zeros(items, 1)), nn.Parameter(torch.zeros(users, 1))
        self.history = normal(items, width, 0.01)
        self.user_text_map = normal(self.user_text_basis.shape[1], width + 1, 0.01)
        self.facts_map = normal(self.facts.shape[1], width + 1, 0.01)
        if start == "text":
            with torch.no_grad():
                own_mean, own = _principal(self.text[self.known_items[:, 0]], width)
                text = (self.text - own_mean) @ own
                if text.any():  # the control "absent" starts at random
                    length = self.item_ids.norm(dim=1).mean()  # as long as random ones
                    self.item_ids.copy_(pad(length * text, (0, width - own.shape[1])))

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """Parameters that want the same weight decay: free vectors, maps from features, biases, the constant."""
        return {
            "ids": [self.item_ids, self.user_ids, self.history],
            "maps": [self.text_map, self.item_map, self.user_map, self.user_text_map, self.facts_map],
            "biases": [self.item_bias, self.user_bias],
            "constant": [self.constant],
        }

    @torch.no_grad()
    def add_items(self, text: torch.Tensor, features: torch.Tensor, facts: torch.Tensor) -> None:
        """New items after the others, with text vectors [n, dim], features [n, f] and facts [n, h]; without ids."""
        items = len(self.known_items)
        user, item = self.pairs // items, self.pairs % items
        self.pairs = user * (items + len(text)) + item
        for name, more in (("text", text), ("item_features", features), ("facts", facts)):
            setattr(self, name, torch.cat([getattr(self, name), more]))
        self.known_items = pad(self.known_items, (0, 0, 0, len(text)))
        for name in ("item_ids", "item_bias", "history"):
            old = getattr(self, name)
            setattr(self, name, nn.Parameter(pad(old, (0, 0, 0, len(text))), old.requires_grad))
        self.met_table = self._table()

    def _table(self) -> torch.Tensor | None:
        """Of each pair of a user and an item whether they have met; None where that would be too large."""
        pairs = len(self.known_users) * len(self.known_items)
        if pairs > TABLE:
            return None
        return torch.zeros(pairs, dtype=torch.bool, device=self.pairs.device).index_fill_(0, self.pairs, True)

    def own(self, user: int) -> torch.Tensor:
        """The history of a user, by position."""
        ends = torch.tensor([user, user + 1], device=self.pairs.device) * len(self.known_items)
        low, high = torch.searchsorted(self.pairs, ends)
        return self.pairs[low:high] % len(self.known_items)

    def met(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """Whether the item is in the history of the user, bool, by broadcasting."""
        key = (users * len(self.known_items) + items).contiguous()
        if self.met_table is not None:  # eight times as fast as a search
            return self.met_table[key]
        if not len(self.pairs):
            return torch.zeros_like(key, dtype=torch.bool)
        place = torch.searchsorted(self.pairs, key).clamp_max(len(self.pairs) - 1)
        return self.pairs[place] == key

    def item_rows(self, items: torch.Tensor, text: torch.Tensor | None, dropped: Dropped) -> dict[str, torch.Tensor]:
        """For each part of these items its vector and, last, its bias: float [n, width + 1].

        text: vectors of their texts, float [n, dim]; None: those that are stored.
        """
        at, place = items.unique(return_inverse=True)  # an item of many pairs is computed once
        keep = self.known_items[at].float()
        if dropped[0] is not None:
            keep = keep * ~dropped[0][at]
        ids = torch.cat([embedding(at, self.item_ids), embedding(at, self.item_bias)], 1) * keep
        features = embedding(place, self.item_features[at] @ self.item_map)
        known = embedding(place, self.text_rows(self.text[at])) if text is None else self.text_rows(text)
        facts = embedding(place, self.facts[at] @ self.facts_map)
        return dict(zip(ITEM_PARTS, (embedding(place, ids), known, features, facts), strict=True))

    def whole_rows(self, items: torch.Tensor, text: torch.Tensor | None, dropped: Dropped) -> torch.Tensor:
        """The sum of `item_rows`, [n, width + 1]."""
        return added(self.item_rows(items, text, dropped))

    def text_rows(self, text: torch.Tensor) -> torch.Tensor:
        """Text vectors [n, dim] as vectors and biases, [n, width + 1]."""
        return (text - self.text_mean) @ self.text_basis @ self.text_map

    def user_rows(self, users: torch.Tensor, dropped: Dropped) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Of these users the vector without history [n, width], the bias [n], and 0 for those met as new, [n, 1].

        Of `UNKNOWN` all is zero: nothing is known of the profile either.
        """
        at, place = users.unique(return_inverse=True)
        there, at = (at != UNKNOWN)[:, None], at.clamp_min(0)
        keep = torch.ones_like(self.known_users[at], dtype=torch.float32)
        if dropped[1] is not None:
            keep = keep * ~dropped[1][at]
        own = torch.cat([embedding(at, self.user_ids), embedding(at, self.user_bias)], 1) * self.known_users[at]
        text = (self.user_text[at] - self.user_text_mean) @ self.user_text_basis @ self.user_text_map
        rows = embedding(place, (own * keep + self.user_features[at] @ self.user_map + text) * there)
        return rows[:, :-1], rows[:, -1], keep[place]

    def past_of(self, items: torch.Tensor) -> torch.Tensor:
        """Y, float [..., width]: what these items bring to a history; a new item has no trained vector."""
        return embedding(items, self.history) * self.known_items[items]

    def totals(self, users: torch.Tensor) -> torch.Tensor:
        """The sum of Y over the history of each of these users, float [n, width]."""
        size = self.past_size[users]
        first = size.cumsum(0) - size
        step = torch.arange(int(size.sum()), device=users.device)
        items = self.past_items[step + (self.past_start[users] - first).repeat_interleave(size)]
        if self.history.device.type != "cpu":
            return torch.segment_reduce(embedding(items, self.history), "sum", lengths=size)
        return _Sums.apply(self.history, items, size)

    def drop(self, draw: torch.Generator | None) -> Dropped:
        """Which items and users a step of the training meets as if they were new."""
        items = self._drawn(self.known_items, self.id_dropout, draw)
        return items, self._drawn(self.known_users, self.user_dropout, draw)

    def _drawn(self, known: torch.Tensor, rate: float, draw: torch.Generator | None) -> torch.Tensor | None:
        if not (self.training and rate):
            return None
        return (torch.rand(known.shape, generator=draw) < rate).to(known.device)


class _Sums(torch.autograd.Function):
    """Sums of rows of a table: the numbers of torch's `embedding_bag`, which sorts all indices, in a fifth of its time.

    table [n, width]; the rows to add up, int [sum of size]; how many of them each sum has, int [m] -> [m, width].
    """

    @staticmethod
    def forward(ctx: Any, table: torch.Tensor, rows: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
        ends = np.concatenate([[0], size.cumsum(0).numpy()])
        ones = np.ones(len(rows), table.detach().numpy().dtype)
        ctx.member = sparse.csr_array((ones, rows.numpy(), ends), (len(size), len(table)))
        return torch.from_numpy(ctx.member @ table.detach().numpy())

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return torch.from_numpy(ctx.member.T @ grads[0].numpy()), None, None


def added(parts: dict[Any, torch.Tensor]) -> torch.Tensor:
    """The sum of tensors of one shape."""
    first, *others = parts.values()
    return sum(others, start=first)


def _principal(text: torch.Tensor, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean [dim] and the first principal directions [dim, width], scaled so that the mean length of a text is 1.

    A thousand items cannot tell which of 384 directions matter; the first ones hold most of what differs.
    """
    mean = text.mean(0)
    basis = torch.linalg.svd(text - mean, full_matrices=False).Vh[:width].T
    length = ((text - mean) @ basis).norm(dim=1).mean() if text.numel() else torch.ones(())
    return mean, basis / length if length > 1e-6 else basis  # equal texts have nothing to scale
