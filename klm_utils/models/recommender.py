"""KLMRecommender: users, items and what a language model knows, behind ids, titles and probabilities."""

import tempfile
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from scipy.special import expit
from torch import nn
from torch.nn.functional import cosine_similarity

from klm_utils import files
from klm_utils.data.catalogue import find, paired
from klm_utils.data.features import SideFeatures
from klm_utils.embedding.encoder import TextEncoder
from klm_utils.errors import ConfigError, DataError, check_flag, check_whole
from klm_utils.fusion import BASE, ITEM_PARTS, UNKNOWN, DotFusion, LayerFusion
from klm_utils.knowledge.vectors import FactVectors
from klm_utils.models import building, card, saving
from klm_utils.models.item_texts import Borrowed, ItemTexts

PAST = "history: "  # of a part of a score
WINNERS = 1024  # items whose scores `recommend` takes apart at a time


class KLMRecommender(nn.Module):
    """A recommender over one data set: text, tags, ids, profile and history fused to one score per user and item.

    Build it with `from_split` or `from_pretrained`; train it with `klm.fit`; `print` it to see what it reads.

    Attributes:
        fusion: the network, see `klm_utils.fusion`.
        texts: the texts of the items and a copy of the encoder, if the mode trains the language model; else None. A
            model from `from_pretrained` has none: it holds the vectors, and the trained encoder lies in its folder.
        items, users: titles by item id, and user ids, in the order of their positions.
        objective: the question it was trained for, "label" or "interaction"; `fit` sets it.
        scale, shift: probability = sigmoid(scale * score + shift); `fit` sets them, and they are part of `state_dict`.
        about: where it comes from: data set, split, encoder, settings, and what it `reads`.
        features, facts: the vocabulary of the items' side features, and of their facts, for new items.
        encoder: the encoder it was built with, if it is at hand.
        measured, trained: for the model card, of metrics and of the encoder beside it; `save_pretrained` sets them.
        home: the folder it was loaded from, or None.
        unfinished: how a training that did not come to its end ended; "" for all others. It is part of the `name`.
        start: the weights that `fit` starts from, once it was called; `load_state_dict` sets others.
        origin: checksum of the weights that `from_pretrained` read, "" where it was built.
    """

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(
        self,
        fusion: DotFusion | LayerFusion,
        item_ids: Sequence,
        user_ids: Sequence,
        titles: Sequence[str],
        about: dict,
        features: SideFeatures,
        texts: ItemTexts | None = None,
        encoder: TextEncoder | None = None,
        facts: FactVectors | None = None,
    ):
        super().__init__()
        self.fusion, self.texts, self.about, self.features, self.facts = fusion, texts, about, features, facts
        self.items = pd.Series(list(titles), index=pd.Index(item_ids, name="item_id"), name="title")
        self.users = pd.Index(user_ids, name="user_id")
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("shift", torch.zeros(()))
        self.encoder = Borrowed(encoder)
        self.objective, self.unfinished, self.origin = "label", "", ""
        self.measured: list[list] = []
        self.trained: dict | None = None
        self.home: Path | None = None
        self.start: Any = None
        self.eval()

    def forward(
        self,
        users: torch.Tensor,
        items: torch.Tensor,
        text: torch.Tensor | None = None,
        draw: torch.Generator | None = None,
    ) -> torch.Tensor:
        """Logits of pairs of positions: int [n], int [n] -> float [n]; under "squared_error" in training, ratings.

        Args:
            users, items: positions in `self.users` and `self.items`.
            text: vectors of the items' texts, float [n, dim], such as `self.read(items)`; None: those that are stored.
            draw: of the dropout in training.
        """
        return self.scale * self.fusion(users, items, text, draw) + self.shift

    def grid(
        self,
        users: torch.Tensor,
        items: torch.Tensor,
        text: torch.Tensor | None = None,
        draw: torch.Generator | None = None,
    ) -> torch.Tensor:
        """`forward` for each of these users with each of these items (and their texts), float [users, items]."""
        return self.scale * self.fusion.grid(users, items, text, draw) + self.shift

    def read(self, items: torch.Tensor) -> torch.Tensor | None:
        """The vectors of these items' texts as the language model sees them now, float [n, dim], with their graph.

        None where no language model is trained along.
        """
        return None if self.texts is None else self.texts(items).to(self.device)

    @torch.no_grad()
    def store(self, items: torch.Tensor | None = None) -> None:
        """`read` these items, or all, and keep their vectors for every `forward` without text."""
        items = self._everything() if items is None else items
        if (text := self.read(items)) is not None:
            self.fusion.text = self.fusion.text.index_copy(0, items, text)

    @property
    def device(self) -> torch.device:
        """Where the fusion is; the language model may be elsewhere."""
        return self.fusion.constant.device

    def load_state_dict(self, *args, **options):
        """As of any torch module; `fit` starts from these weights then."""
        self.start = None
        return super().load_state_dict(*args, **options)

    # ids in, probabilities out

    @torch.no_grad()
    def predict(self, user_ids: ArrayLike, item_ids: ArrayLike) -> np.ndarray:
        """Probability of a like (objective "label") or a choice ("interaction") for each pair, float64 [n].

        Ids that are new in the data set are scored by what else is known of them.

        Raises:
            DataError: an id that is not in the data set, or two lists of different lengths.
        """
        return expit(self._in_pieces(self, *self.positions(user_ids, item_ids)))

    @torch.no_grad()
    def predict_grid(self, user_ids: ArrayLike, item_ids: ArrayLike) -> np.ndarray:
        """`predict` for every user with every item, float64 [users, items]."""
        u, i = self._places(self.users, user_ids, "user_ids"), self._places(self.items.index, item_ids, "item_ids")
        self.eval()
        return expit(self.grid(u, i).double().cpu().numpy())

    @torch.no_grad()
    def scores(self, user_ids: ArrayLike, item_ids: ArrayLike) -> np.ndarray:
        """The raw score of each pair, float64 [n]: predicted rating, or logit; errors of `predict`."""
        return self._in_pieces(self.fusion, *self.positions(user_ids, item_ids))

    def positions(self, user_ids: ArrayLike, item_ids: ArrayLike) -> tuple[torch.Tensor, torch.Tensor]:
        """Positions of ids, int64 [n] each; errors of `predict`."""
        user_ids, item_ids = paired(user_ids, item_ids)
        return self._places(self.users, user_ids, "user_ids"), self._places(self.items.index, item_ids, "item_ids")

    def _places(self, index: pd.Index, ids: ArrayLike, argument: str) -> torch.Tensor:
        return torch.from_numpy(find(index, ids, argument)).to(self.device)

    def _in_pieces(self, score: nn.Module, u: torch.Tensor, i: torch.Tensor) -> np.ndarray:
        self.eval()
        size = self.fusion.pairs_at_once
        pieces = [score(a, b).double().cpu() for a, b in zip(u.split(size), i.split(size), strict=True)]
        return torch.cat(pieces).numpy() if len(u) else np.zeros(0)

    def recommend(
        self,
        user_id,
        k: int = 10,
        exclude_seen: bool = True,
        history: Sequence | None = None,
        among: ArrayLike | None = None,
    ) -> pd.DataFrame:
        """The k items with the highest probability for a user, and why.

        Args:
            user_id: a user of the data set; a list of users; or None: somebody of whom only the `history` is known.
            k: how many, for each user.
            exclude_seen: leave out the items of the history, the user's own and the one given.
            history: item ids to use in place of the user's own history, the oldest first.
            among: item ids to choose from; None: all.

        Returns:
            `item_id`, `title`, `score` (probability) and `because`: the parts of the score that speak for this item
            against the average item, with their share in the log-odds, the strongest first; of the history the
            total and its two strongest items. `explain` has all parts. For a list of users `user_id` comes first.

        Raises:
            DataError: an id that is not in the data set; neither a user nor a history.
            ConfigError: k is not a whole number of at least 1, exclude_seen neither true nor false; one history for
                several users.
        """
        k, exclude_seen = check_whole("k", k), check_flag("exclude_seen", exclude_seen)
        allowed = None if among is None else self._places(self.items.index, among, "among")
        if not pd.api.types.is_list_like(user_id):
            return self._best(*self._asked(user_id, history), k, exclude_seen, allowed)
        if history is not None:
            what, remedy = "a history belongs to one user", "call recommend once for each history"
            raise ConfigError(what, "recommend(history)", history, "None for a list of users", remedy)
        lists = [pd.DataFrame(columns=["user_id", "item_id", "title", "score", "because"])]
        for user in self._places(self.users, list(user_id), "user_id").tolist():
            table = self._best(user, None, k, exclude_seen, allowed)
            table.insert(0, "user_id", self.users[user])
            lists.append(table)
        return pd.concat(lists[1:] or lists, ignore_index=True)

    def _asked(self, user_id, history: Sequence | None) -> tuple[int, torch.Tensor | None]:
        """Positions of a user, and of a history that is to replace their own."""
        if user_id is None and history is None:
            expected = "a user of the data set, or a history"
            raise DataError("nobody is asked for", "user_id", None, expected, "pass None with history=[item_id, ...]")
        user = UNKNOWN if user_id is None else int(self._places(self.users, [user_id], "user_id"))
        if history is None:
            return user, None
        places = self._places(self.items.index, history, "history").tolist()
        last = list(dict.fromkeys(reversed(places)))[::-1]  # each once, where it was chosen last
        return user, torch.tensor(last, dtype=torch.int64, device=self.device)

    @torch.no_grad()
    def _best(self, user: int, past: torch.Tensor | None, k: int, exclude_seen: bool, among) -> pd.DataFrame:
        """The list of `recommend` for one user, everything by position."""
        self.eval()
        scores, means = self.fusion.overview(user, past)
        logits = self.scale * scores + self.shift
        left = torch.ones_like(scores, dtype=torch.bool)
        if among is not None:
            left = torch.zeros_like(left).index_fill_(0, among, True)
        if exclude_seen:
            for seen in (self.fusion.own(user), past):
                left = left if seen is None else left.index_fill_(0, seen, False)
        order = (-logits).argsort(stable=True)
        order, because = order[left[order]][:k], []
        for some in order.split(WINNERS):  # an item is chosen for what sets it apart
            gain = self._parts(user, past, some) - self.scale.item() * np.array(list(means.values()))
            because += [_because(gain.iloc[at], self.items.iloc[place]) for at, place in enumerate(some.tolist())]
        return self._named(order).assign(score=expit(logits[order].cpu().numpy()), because=because)

    def _named(self, places: torch.Tensor) -> pd.DataFrame:
        """`item_id` and `title` of these positions."""
        return self.items.iloc[places.cpu().numpy()].reset_index()

    def explain(self, user_id, item_id, history: Sequence | None = None) -> pd.Series:
        """The log-odds of `predict` for one pair taken apart; the parts sum to it (in float32).

        Returns:
            float64, indexed by part: "average", "user", "item id", "item text", "item tags", and the title of each
            item of the history ("history: ..."). Errors as `recommend`.
        """
        item = self._places(self.items.index, [item_id], "item_id")
        parts = self._parts(*self._asked(user_id, history), item).iloc[0]
        parts[BASE] += self.shift.item()
        return parts.rename(self.items.iloc[int(item)])

    def _parts(self, user: int, history: torch.Tensor | None, items: torch.Tensor) -> pd.DataFrame:
        """Scaled parts of the score of one user for items, all by position: a row for each item."""
        self.eval()
        parts = self.fusion.parts(user, items, history)
        names = [PAST + self.items.iloc[key] if isinstance(key, int) else key for key in parts]
        table = np.stack([part.double().cpu().numpy() for part in parts.values()], axis=1) * self.scale.item()
        return pd.DataFrame(table, columns=names)

    @torch.no_grad()
    def similar_items(self, item_id, k: int = 10) -> pd.DataFrame:
        """The k items nearest to an item: `item_id`, `title`, and `similarity`, the nearest first.

        The similarity is the cosine of the vectors with which the score meets an item, each the sum of what its id,
        its text and its tags give, as they are after the training. It is about who likes what, not about words alone.

        Raises:
            DataError: an id that is not in the data set.
            ConfigError: k is not a whole number of at least 1.
        """
        k, place = check_whole("k", k), self._places(self.items.index, [item_id], "item_id")
        self.eval()
        rows = self.fusion.whole_rows(self._everything(), None, (None, None))[:, :-1]
        similarity = cosine_similarity(rows[place], rows)
        order = (-similarity).argsort(stable=True)
        order = order[order != place][:k]
        return self._named(order).assign(similarity=similarity[order].double().cpu().numpy())

    def _everything(self) -> torch.Tensor:
        return torch.arange(len(self.items), device=self.device)

    def with_items(
        self, frame: pd.DataFrame, texts: Sequence[str] | None = None, encoder: TextEncoder | None = None
    ) -> "KLMRecommender":
        """A model that also scores items it has never seen, from their text, tags and other side features.

        Such an item has no vector of its id, and brings nothing to a history. This model stays as it is.

        Args:
            frame: new items, a table like `ds.items` with the columns that the model reads (`print(model)`).
            texts: one for each row, needed where the model was built with texts of the user's own.
            encoder: the one that the model was built with, where it cannot be found: it is not at hand any more, nor
                in the folder of the model (if it was trained), nor loaded by its name.

        Raises:
            DataError: a table that breaks the rules of items; an id that the model knows; a column that is missing.
            ConfigError: no encoder, or another one; texts that nothing reads, or that are missing; a model whose
                knowledge is a control.
        """
        return building.with_items(self, frame, texts, encoder)

    # made, saved, found again

    from_split = classmethod(building.from_split)

    def save_pretrained(self, folder: str | PathLike, reports: Sequence = ()) -> None:
        """Write the model to a folder: `model.safetensors`, which needs nothing else, and a model card.

        A language model that was trained along goes beside them, as a folder that `TextEncoder.from_pretrained` reads;
        the card has the call.

        Args:
            folder: its name.
            reports: of `klm.evaluate`, for the card.

        Raises:
            CheckpointError: the folder cannot be written, and a model that was there is unharmed; it holds a model of
                another kind.
            ConfigError: no folder, reports that are none.
        """
        saving.save(self, folder, card.measured(reports) or self.measured)

    def push_to_hub(
        self, repo_id: str, reports: Sequence = (), private: bool | None = None, token: str | None = None, **options
    ) -> str:
        """`save_pretrained` to a repository of the Hugging Face hub, made if it is not there; its address.

        Args:
            repo_id, private, token: of the repository.
            reports: of `klm.evaluate`, for the card.
            options: of `huggingface_hub.upload_folder`: commit_message, revision, create_pr, ...

        Raises:
            CheckpointError: the hub does not take it.
        """
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, reports)
            return saving.push(Path(folder), repo_id, private, token, options)

    @classmethod
    def from_pretrained(cls, path: str | PathLike, **hub) -> "KLMRecommender":
        """A model that `save_pretrained` wrote, from a folder or (`hub`: revision, token, ...) from the hub.

        Raises:
            CheckpointError: nothing there, or no whole file of such a model. ConfigError: no option of the hub.
        """
        home = saving.place(path, hub)
        network, scale, shift, facts, saved = saving.load(home / saving.FILE)
        ids, features = (saved["item_ids"], saved["user_ids"]), SideFeatures.from_dict(saved["features"])
        model = cls(network, *ids, saved["titles"], saved["about"], features, facts=facts)
        model.scale, model.shift, model.objective, model.home = scale, shift, saved["objective"], home
        model.trained, model.measured = saved.get("trained"), saved.get("measured", [])
        model.unfinished, model.origin = saved.get("unfinished", ""), files.checksum(network.state_dict(), "")
        return model

    @property
    def protocol(self) -> str:
        """Of the split it was made with: `klm.evaluate` measures on no other."""
        return self.about["protocol"]

    @property
    def name(self) -> str:
        """For tables and reports: "KLM minilm", "KLM minilm full shuffled", "KLM without text", "KLM gate minilm"."""
        about = self.about
        fusion = "" if about["fusion"] == "dot" else f"{about['fusion']} "
        end = (" + facts" if self.fusion.facts.shape[1] else "") + (f" ({self.unfinished})" if self.unfinished else "")
        if about["encoder"] is None:
            return f"KLM {fusion}without text{end}"
        mode = "" if about["mode"] == "frozen" else f" {about['mode']}"
        kind = "" if about["knowledge"] == "true" else f" {about['knowledge']}"
        return f"KLM {fusion}{Path(about['encoder']['name']).name}{mode}{kind}{end}"

    def __repr__(self) -> str:
        """What the model reads of its data, and what of the items it does not."""
        return card.told(self)


def _because(gain: pd.Series, title: str) -> str:
    """ "item text +0.52, history +0.31 (Alien, Star Wars)": what is positive, the strongest first."""
    past = gain[gain.index.str.startswith(PAST)]
    parts = gain[list(ITEM_PARTS)].to_dict()
    if len(past):
        others = past.drop(PAST + title, errors="ignore")  # an item is no reason for itself
        best = ", ".join(name.removeprefix(PAST) for name in others.nlargest(2).index)
        parts[f"history ({best})" if best else "history"] = past.sum()
    ranked = sorted(parts.items(), key=lambda part: -part[1])
    return ", ".join(f"{name} {value:+.2f}" for name, value in ranked if value > 0)
