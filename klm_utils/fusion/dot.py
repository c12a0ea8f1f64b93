"""Fusion: text vectors, ids, profile and history become one score.

A fusion is called with positions of users and items and returns a score each, of any size. What it needs to know of
the catalogue it holds itself, so that a saved model needs neither the data set nor the language model.
"""

import numpy as np
import torch
from torch import nn
from torch.nn.functional import embedding, embedding_bag, pad

from klm_utils.data.catalogue import Catalogue
from klm_utils.errors import check_choice, check_whole

TABLE = 10**8  # pairs of users and items up to which "has met" is looked up in a table, a byte each
BASE, USER = "average", "user"
ITEM_PARTS = ("item id", "item text", "item tags")


class DotFusion(nn.Module):
    """score(u, i) = c + b_u + b_i + p_u . q_i, where

        [q_i, b_i] = W_x B (x_i - mean) + W_f f_i + keep_i [E_i, e_i]       text; tags and year; id
        [p_u, b_u] = W_t C (t_u - mean) + W_g g_u + keep_u [U_u, e_u] + drop_u [h_u, 0]
                                                                            profile as text, as features; id; history
        h_u        = |N|^-1/2 sum of Y_j over j in N, the history of u without i

    keep is 1 for ids that occur in train and 0 for others, drop is 1. In training a random share of items
    (`id_dropout`) and of users (`user_dropout`; attributes that `fit` sets) has keep and drop 0, so that those
    without an id vector, the cold ones, are nothing new. B and C hold principal directions of the text vectors.

    Args:
        catalogue: see `Catalogue`.
        width: of p and q.
        text_width: principal components kept of the text vectors, fitted on the items, or users, of train.
        start: of the items' id vectors: "random", or "text", their first `width` principal components, for ids that
            should begin where their texts are.
        seed: of the start values.

    Parameters: (t + f + g) (width + 1) + (users + items) (width + 1) + items width + 1, where t is min(text_width,
    dim, items of train), and the same of users where profiles are texts.

    Source: Koren 2008, Factorization meets the neighborhood, section 4 (SVD++, the history); Volkovs et al. 2017,
    DropoutNet (id dropout); Hou et al. 2022, UniSRec (text plus id).
    """

    full_matrix = True  # the score is a dot product, so `grid` costs one matrix product

    def __init__(self, catalogue: Catalogue, width=32, text_width=32, start="random", seed=0):
        super().__init__()
        width, text_width = check_whole("width", width), check_whole("text_width", text_width)
        check_choice("start", start, ("random", "text"))
        self.width = width
        self.id_dropout = self.user_dropout = 0.0
        for name in ("text", "user_text", "item_features", "user_features"):
            self.register_buffer(name, torch.tensor(getattr(catalogue, name), dtype=torch.float32))
        self.register_buffer("known_items", torch.tensor(catalogue.known_items)[:, None])
        self.register_buffer("known_users", torch.tensor(catalogue.known_users)[:, None])
        items, users = len(catalogue.known_items), len(catalogue.known_users)
        user, item = np.asarray(catalogue.pairs, dtype=np.int64)
        self.register_buffer("pairs", torch.from_numpy(np.sort(user * items + item)))
        table = None
        if users * items <= TABLE:  # eight times as fast as a search
            table = torch.zeros(users * items, dtype=torch.bool).index_fill_(0, self.pairs, True)
        self.register_buffer("met_table", table, persistent=False)
        self.register_buffer("history_size", torch.bincount(torch.from_numpy(user), minlength=users).float())
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
            "maps": [self.text_map, self.item_map, self.user_map, self.user_text_map],
            "biases": [self.item_bias, self.user_bias],
            "constant": [self.constant],
        }

    def forward(self, users: torch.Tensor, items: torch.Tensor, draw: torch.Generator | None = None) -> torch.Tensor:
        """One score per pair of positions: int [n], int [n] -> float [n]. `draw` decides the dropout in training."""
        q, b = _split(embedding(items, sum(self._items(draw).values())))  # `[items]` would sum its gradient in no order
        p, bu, keep = self._users(draw)
        past, total = self._histories()
        own = self.met(users, items)
        h = embedding(users, keep * total) - (own[:, None] * keep[users]) * embedding(items, past)
        h = h * (self.history_size[users] - own.float()).clamp_min(1)[:, None].rsqrt()
        return self.constant + embedding(users, bu[:, None])[:, 0] + b + ((embedding(users, p) + h) * q).sum(1)

    def grid(self, users: torch.Tensor, items: torch.Tensor, draw: torch.Generator | None = None) -> torch.Tensor:
        """Scores of all pairs of these users and items, float [users, items]; the same numbers as `forward`."""
        q, b = _split(sum(self._items(draw).values())[items])
        p, bu, keep = self._users(draw)
        past, total = self._histories()
        own = self.met(users[:, None], items[None, :])
        h = keep[users] * (total[users] @ q.T - own * (past[items] * q).sum(1))
        h = h * (self.history_size[users][:, None] - own.float()).clamp_min(1).rsqrt()
        return self.constant + bu[users][:, None] + b + p[users] @ q.T + h

    @torch.no_grad()
    def parts(self, user: int, items: torch.Tensor, history: torch.Tensor | None = None) -> dict:
        """The score of one user taken apart: {part: float [n]}, and under each item of the history float [n].

        The values sum to the score. `history` (positions) replaces the user's own.
        """
        history = self._own(user) if history is None else history
        p, bu, _ = self._users(None)
        past, _ = self._histories()
        parts = {BASE: self.constant.detach().expand(len(items)), USER: bu[user].expand(len(items))}
        of_items = self._items(None)
        for name, vectors in of_items.items():
            parts[name] = vectors[items, -1] + vectors[items, :-1] @ p[user]
        q = sum(of_items.values())[items, :-1]
        other = history[:, None] != items[None, :]  # an item is no reason for itself
        shares = past[history] @ q.T * other * other.sum(0).clamp_min(1).rsqrt()
        return parts | {int(j): share for j, share in zip(history, shares, strict=True)}

    @torch.no_grad()
    def overview(self, user: int, history: torch.Tensor | None = None) -> tuple[torch.Tensor, dict[str | int, float]]:
        """The scores of one user for all items, float64 [items], and {part: its mean over all items}; see `parts`.

        It needs room for the items and for the history, but not for each of these with each of those.
        """
        history = self._own(user) if history is None else history
        p, bu, _ = self._users(None)
        of_items = {name: vectors.double() for name, vectors in self._items(None).items()}
        parts = {name: vectors[:, -1] + vectors[:, :-1] @ p[user].double() for name, vectors in of_items.items()}
        past, n = self._past()[history].double(), len(self.known_items)
        own = torch.zeros(n, dtype=torch.bool, device=history.device).index_fill_(0, history, True)
        others = (len(history) - own.double()).clamp_min(1)
        q = sum(of_items.values())[:, :-1] * others.rsqrt()[:, None]
        own_share = (past * q[history]).sum(1)  # an item is no reason for itself
        total = (q @ past.sum(0)).index_add_(0, history, -own_share)
        base, of_user = self.constant.double(), bu[user].double()
        means = {BASE: base.item(), USER: of_user.item()} | {name: part.mean().item() for name, part in parts.items()}
        shares = (past @ q.sum(0) - own_share) / n
        return base + of_user + sum(parts.values()) + total, means | dict(
            zip(history.tolist(), shares.tolist(), strict=True)
        )

    def _own(self, user: int) -> torch.Tensor:
        """The history of a user, by position."""
        low, high = torch.searchsorted(
            self.pairs, torch.tensor([user, user + 1], device=self.pairs.device) * len(self.known_items)
        )
        return self.pairs[low:high] % len(self.known_items)

    def met(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """Whether the item is in the history of the user, bool, by broadcasting."""
        key = (users * len(self.known_items) + items).contiguous()
        if self.met_table is not None:
            return self.met_table[key]
        if not len(self.pairs):
            return torch.zeros_like(key, dtype=torch.bool)
        place = torch.searchsorted(self.pairs, key).clamp_max(len(self.pairs) - 1)
        return self.pairs[place] == key

    def _items(self, draw) -> dict[str, torch.Tensor]:
        """For each part of an item its vector and, last, its bias: float [items, width + 1]."""
        ids = torch.cat([self.item_ids, self.item_bias], 1) * self._keep(self.known_items, self.id_dropout, draw)
        text = (self.text - self.text_mean) @ self.text_basis
        return dict(zip(ITEM_PARTS, (ids, text @ self.text_map, self.item_features @ self.item_map), strict=True))

    def _users(self, draw):
        """p [users, width] without history, b [users], drop [users, 1]."""
        keep = self._keep(torch.ones_like(self.known_users), self.user_dropout, draw)
        own = torch.cat([self.user_ids, self.user_bias], 1) * self.known_users * keep
        text = (self.user_text - self.user_text_mean) @ self.user_text_basis
        p, b = _split(own + self.user_features @ self.user_map + text @ self.user_text_map)
        return p, b, keep

    def _past(self) -> torch.Tensor:
        """Y [items, width]: what an item of the history brings; a new item has no trained vector."""
        return self.history * self.known_items

    def _histories(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Y [items, width] and its sum over each history [users, width]."""
        first = self.history_size.long().cumsum(0) - self.history_size.long()
        past = self._past()
        return past, embedding_bag(self.pairs % len(self.known_items), past, first, mode="sum")

    def _keep(self, known: torch.Tensor, rate: float, draw) -> torch.Tensor:
        keep = known.float()
        if self.training and rate:
            keep = keep * (torch.rand(known.shape, generator=draw) >= rate).to(keep.device)
        return keep


def _principal(text: torch.Tensor, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean [dim] and the first principal directions [dim, width], scaled so that the mean length of a text is 1.

    A thousand items cannot tell which of 384 directions matter; the first ones hold most of what differs.
    """
    mean = text.mean(0)
    basis = torch.linalg.svd(text - mean, full_matrices=False).Vh[:width].T
    length = ((text - mean) @ basis).norm(dim=1).mean() if text.numel() else torch.ones(())
    return mean, basis / length if length > 1e-6 else basis  # equal texts have nothing to scale


def _split(vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Vector and bias."""
    return vectors[..., :-1], vectors[..., -1]
