"""A fusion layer between the tables of ids, texts, tags and history and the score of a pair of positions."""

from dataclasses import replace

import torch
from torch.nn.functional import embedding, pad

from klm_utils.data.catalogue import Catalogue
from klm_utils.errors import check_choice, check_number, check_whole
from klm_utils.fusion.layers import LAYERS, Inputs
from klm_utils.fusion.vectors import BASE, ITEM_PARTS, USER, Dropped, Vectors, added

ROOM = 262_144  # items times items of the history, a vector each, that `overview` holds at a time


class LayerFusion(Vectors):
    """score(u, i) = c + b_u + b_i + layer(user, id, text, tags, history), with one of `LAYERS`.

    The vectors and biases are those of `Vectors`, the dropout of ids and users too; how they meet is the layer's.
    The history is the last `past` items that the user chose in train (or was shown for), without the target itself.

    Args:
        catalogue: see `Catalogue`; `pairs` in order of time.
        layer: a name in `LAYERS`.
        width, text_width, start, seed: as for `Vectors`.
        past: items of a history at most; 0: no history.
        recency: weight of an item of the history against the one chosen after it; 1: all alike.
        hidden: units of the layer's MLP, if it has one.

    Parameters: those of `Vectors` and of the layer.
    """

    full_matrix = False
    pairs_at_once = 16_384
    tag_rows: torch.Tensor
    past_rows: torch.Tensor

    def __init__(
        self,
        catalogue: Catalogue,
        layer: str = "concat",
        width: int = 32,
        text_width: int = 32,
        past: int = 10,
        hidden: int = 32,
        recency: float = 1.0,
        start: str = "random",
        seed: int = 0,
    ):
        super().__init__(catalogue, width, text_width, start, seed)
        check_choice("layer", layer, tuple(LAYERS))
        self.past, hidden = check_whole("past", past, least=0), check_whole("hidden", hidden)
        self.recency = check_number("recency", recency, 1e-9, 1, "recency=1.0 weighs all items of a history alike")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layer = LAYERS[layer](width, hidden)
        self.register_buffer("tag_rows", self._tag_rows())
        user, item = torch.as_tensor(catalogue.pairs)
        own = item[user.argsort(stable=True)].split(torch.bincount(user, minlength=len(self.known_users)).tolist())
        self.register_buffer("past_rows", _rows([self._last(one) for one in own]))

    def add_items(self, text: torch.Tensor, features: torch.Tensor, facts: torch.Tensor) -> None:
        """As `Vectors.add_items`."""
        super().add_items(text, features, facts)
        self.tag_rows = self._tag_rows()

    def _tag_rows(self) -> torch.Tensor:
        return _rows([row.nonzero()[:, 0] for row in self.item_features])

    def groups(self) -> dict[str, list[torch.nn.Parameter]]:
        """As `Vectors.groups`, and the weights of the layer, which want no decay."""
        return super().groups() | {"layer": list(self.layer.parameters())}

    def forward(
        self,
        users: torch.Tensor,
        items: torch.Tensor,
        text: torch.Tensor | None = None,
        draw: torch.Generator | None = None,
    ) -> torch.Tensor:
        """As `DotFusion.forward`."""
        return self._scores(users, items, text, self.drop(draw))

    def _scores(self, users, items, text, dropped: Dropped) -> torch.Tensor:
        x, biases = self._inputs(users, items, text, dropped)
        return self.constant + biases + self.layer(x)

    def _inputs(self, users, items, text, dropped: Dropped) -> tuple[Inputs, torch.Tensor]:
        """What the layer sees, and the biases of user and item, [n].

        `embedding` where `[...]` would do: its gradient is summed in a fixed order, so that equal seeds agree.
        """
        of_items, (p, bu, keep) = self.item_rows(items, text, dropped), self.user_rows(users, dropped)
        tags, history = self.tag_rows[items], self.past_rows[users]
        ids, text, _, facts = (of_items[part][:, :-1] for part in ITEM_PARTS)
        there = self._weights((history >= 0) & (history != items[:, None])) * keep  # no item is its own past
        tag_vectors, past_vectors = embedding(tags.clamp_min(0), self._tags()), self.past_of(history.clamp_min(0))
        inputs = Inputs(p, ids, text + facts, tag_vectors, (tags >= 0).float(), past_vectors, there)
        return inputs, bu + added(of_items)[:, -1]

    def _last(self, history: torch.Tensor) -> torch.Tensor:
        return history[max(len(history) - self.past, 0) :]

    def _weights(self, there: torch.Tensor) -> torch.Tensor:
        """1 for the last item that is there, `recency` for the one before and so on, 0 for what is not, [n, past]."""
        there = there.float()
        later = there.sum(1, keepdim=True) - there.cumsum(1)
        return there * self.recency**later

    def _tags(self) -> torch.Tensor:
        """A vector for each feature of items, at least one row, [features, width]."""
        return self.item_map[:, :-1] if len(self.item_map) else self.item_map.new_zeros(1, self.width)

    def grid(
        self,
        users: torch.Tensor,
        items: torch.Tensor,
        text: torch.Tensor | None = None,
        draw: torch.Generator | None = None,
    ) -> torch.Tensor:
        """Scores of all pairs of these users and items, float [users, items]; the same numbers as `forward`."""
        u, place = torch.cartesian_prod(users, torch.arange(len(items), device=items.device)).T
        dropped = self.drop(draw)  # one for all chunks
        chunks = [
            self._scores(a, items[b], None if text is None else embedding(b, text), dropped)
            for a, b in zip(u.split(self.pairs_at_once), place.split(self.pairs_at_once), strict=True)
        ]
        return torch.cat(chunks).reshape(len(users), len(items))

    @torch.no_grad()
    def parts(self, user: int, items: torch.Tensor, history: torch.Tensor | None = None) -> dict:
        """The score of one user taken apart: {part: float [n]}, and under each item of the history float [n].

        A layer is no sum, so a part is what the score loses without it, and "average" is what is left over: the values
        sum to the score. `history` (positions, the oldest first) replaces the user's own; the last `past` of it count.
        """
        dropped = (None, None)
        x, biases = self._inputs(torch.full_like(items, user), items, None, dropped)
        of_items, bu = self.item_rows(items, None, dropped), self.user_rows(items.new_tensor([user]), dropped)[1]
        if history is None:
            history = self.past_rows[user][self.past_rows[user] >= 0]
        else:
            history = self._last(history)
            x = replace(
                x,
                past=self.past_of(history).expand(len(items), -1, -1),
                past_mask=self._weights(history[None, :] != items[:, None]),
            )
        total = self.layer(x)
        parts = {USER: bu.expand(len(items))}
        text, facts = (of_items[name][:, :-1] for name in ("item text", "item facts"))
        left = (torch.zeros_like(x.item), x.text - text, torch.zeros_like(x.tag_mask), x.text - facts)
        for name, field, rest in zip(ITEM_PARTS, ("item", "text", "tag_mask", "text"), left, strict=True):
            parts[name] = of_items[name][:, -1] + total - self.layer(replace(x, **{field: rest}))
        for place, j in enumerate(history.tolist()):
            mask = x.past_mask.clone()
            mask[:, place] = 0
            parts[j] = total - self.layer(replace(x, past_mask=mask))
        score = self.constant + biases + total
        return {BASE: score - added(parts)} | parts

    @torch.no_grad()
    def overview(self, user: int, history: torch.Tensor | None = None) -> tuple[torch.Tensor, dict[str | int, float]]:
        """As `DotFusion.overview`, from the parts of so many items at a time as fit `ROOM`."""
        scores: list[torch.Tensor] = []
        sums: dict[str | int, float] = {}
        everything = torch.arange(len(self.known_items), device=self.pairs.device)
        for some in everything.split(max(1, ROOM // (1 + self.past))):
            parts = {name: part.double() for name, part in self.parts(user, some, history).items()}
            scores.append(added(parts))
            sums = {name: sums.get(name, 0.0) + part.sum().item() for name, part in parts.items()}
        return torch.cat(scores), {name: total / len(self.known_items) for name, total in sums.items()}


def _rows(lists: list[torch.Tensor]) -> torch.Tensor:
    """Lists of positions as a table, int [len(lists), longest], -1 where a list has ended."""
    longest = max([1, *map(len, lists)])
    return torch.stack([pad(one.long(), (0, longest - len(one)), value=-1) for one in lists])
