"""The dot product of what is known of a user and of an item."""

import torch
from torch.nn.functional import embedding

from klm_utils.fusion.vectors import BASE, USER, Vectors, added


class DotFusion(Vectors):
    """score(u, i) = c + b_u + b_i + (p_u + h_u) . q_i, with q, p and the biases b of `Vectors`, and the history

        h_u = |N|^-1/2 sum of Y_j over j in N, the history of u without i

    Args, parameters: see `Vectors`.

    Source: Koren 2008, Factorization meets the neighborhood, section 4 (SVD++).
    """

    full_matrix = True
    pairs_at_once = 262_144

    def forward(
        self,
        users: torch.Tensor,
        items: torch.Tensor,
        text: torch.Tensor | None = None,
        draw: torch.Generator | None = None,
    ) -> torch.Tensor:
        """One score per pair of positions: int [n], int [n] -> float [n].

        text: vectors of the items' texts, float [n, dim]; None: those that are stored.
        draw: of the dropout in training.
        """
        dropped = self.drop(draw)
        of_items = self.whole_rows(items, text, dropped)
        q, b = of_items[:, :-1], of_items[:, -1]
        at, place = users.unique(return_inverse=True)  # a user of many pairs is computed once
        p, bu, keep = self.user_rows(at, dropped)
        rows = embedding(place, torch.cat([p, self.totals(at), bu[:, None], keep], 1))
        p, total, bu, keep = rows.split([self.width, self.width, 1, 1], 1)
        own = self.met(users, items).float()[:, None]
        h = keep * (total - own * self.past_of(items))
        h = h * (self.history_size[users][:, None] - own).clamp_min(1).rsqrt()
        return self.constant + bu[:, 0] + b + ((p + h) * q).sum(1)

    def grid(
        self,
        users: torch.Tensor,
        items: torch.Tensor,
        text: torch.Tensor | None = None,
        draw: torch.Generator | None = None,
    ) -> torch.Tensor:
        """Scores of all pairs of these users and items, float [users, items]; the same numbers as `forward`."""
        dropped = self.drop(draw)
        rows = self.whole_rows(items, text, dropped)
        q, b = rows[:, :-1], rows[:, -1]
        p, bu, keep = self.user_rows(users, dropped)
        own = self.met(users[:, None], items[None, :])
        h = keep * (self.totals(users) @ q.T - own * (self.past_of(items) * q).sum(1))
        h = h * (self.history_size[users][:, None] - own.float()).clamp_min(1).rsqrt()
        return self.constant + bu[:, None] + b + p @ q.T + h

    @torch.no_grad()
    def parts(self, user: int, items: torch.Tensor, history: torch.Tensor | None = None) -> dict:
        """The score of one user taken apart: {part: float [n]}, and under each item of the history float [n].

        The values sum to the score. `history` (positions) replaces the user's own.
        """
        history = self.own(user) if history is None else history
        p, bu, _ = self.user_rows(items.new_tensor([user]), (None, None))
        parts = {BASE: self.constant.detach().expand(len(items)), USER: bu.expand(len(items))}
        of_items = self.item_rows(items, None, (None, None))
        for name, vectors in of_items.items():
            parts[name] = vectors[:, -1] + vectors[:, :-1] @ p[0]
        q = added(of_items)[:, :-1]
        other = history[:, None] != items[None, :]  # an item is no reason for itself
        shares = self.past_of(history) @ q.T * other * other.sum(0).clamp_min(1).rsqrt()
        return parts | {int(j): share for j, share in zip(history, shares, strict=True)}

    @torch.no_grad()
    def overview(self, user: int, history: torch.Tensor | None = None) -> tuple[torch.Tensor, dict[str | int, float]]:
        """The scores of one user for all items, float64 [items], and {part: its mean over all items}; see `parts`.

        It needs room for the items and for the history, but not for each of these with each of those.
        """
        history = self.own(user) if history is None else history
        everything = torch.arange(len(self.known_items), device=history.device)
        p, bu, _ = self.user_rows(everything.new_tensor([user]), (None, None))
        rows = self.item_rows(everything, None, (None, None))
        of_items = {name: vectors.double() for name, vectors in rows.items()}
        parts = {name: vectors[:, -1] + vectors[:, :-1] @ p[0].double() for name, vectors in of_items.items()}
        past = self.past_of(history).double()
        own = torch.zeros_like(everything, dtype=torch.bool).index_fill_(0, history, True)
        others = (len(history) - own.double()).clamp_min(1)
        q = added(of_items)[:, :-1] * others.rsqrt()[:, None]
        own_share = (past * q[history]).sum(1)  # an item is no reason for itself
        total = (q @ past.sum(0)).index_add_(0, history, -own_share)
        base, of_user = self.constant.double(), bu[0].double()
        means: dict[str | int, float] = {BASE: base.item(), USER: of_user.item()}
        means.update((name, part.mean().item()) for name, part in parts.items())
        shares = (past @ q.sum(0) - own_share) / len(everything)
        means.update(zip(history.tolist(), shares.tolist(), strict=True))
        return base + of_user + added(parts) + total, means
