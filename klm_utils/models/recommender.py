"""KLMRecommender: users, items and what a language model knows, behind ids, titles and probabilities."""

import json
from hashlib import sha256
from inspect import signature
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from huggingface_hub import PyTorchModelHubMixin, hf_hub_download
from safetensors import SafetensorError
from scipy.special import expit
from torch import nn

from klm_utils import files
from klm_utils.data import catalogue
from klm_utils.data.assets import offline
from klm_utils.data.catalogue import find, paired
from klm_utils.embedding import modes
from klm_utils.errors import CheckpointError, DataError, check_choice, check_flag, check_seed, check_whole
from klm_utils.fusion import BASE, FUSIONS, ITEM_PARTS
from klm_utils.knowledge.controls import knowledge as controlled
from klm_utils.knowledge.controls import others
from klm_utils.knowledge.templates import user_texts
from klm_utils.models import card, saving
from klm_utils.models.checks import check_build, check_home, checked_texts, settings_of
from klm_utils.models.item_texts import ItemTexts
from klm_utils.models.saving import FILE

PAST = "history: "
HUB = ("commit_message", "private", "token", "branch", "create_pr")
WINNERS = 1024  # items whose scores `recommend` takes apart at a time
PAIRS_AT_ONCE = 262_144  # bounds the memory of predict: about 100 MB


class KLMRecommender(nn.Module, PyTorchModelHubMixin, library_name="klm-utils"):
    """A recommender over one data set: text, tags, ids, profile and history fused to one score per user and item.

    Build it with `from_split` or `from_pretrained`; train it with `klm.fit`.

    Attributes:
        fusion: the network, see `klm_utils.fusion`.
        texts: the texts of the items and a copy of the encoder, if the mode trains the language model; else None. A
            model from `from_pretrained` has none: it holds the vectors, and the trained encoder lies in its folder.
        objective: the question it was trained for, "label" or "interaction"; `fit` sets it.
        scale, shift: probability = sigmoid(scale * score + shift); `fit` sets them, and they are part of `state_dict`.
        about: where it comes from: data set, split, encoder, settings.
        measured, trained: for the model card, of metrics and of the encoder beside it; `save_pretrained` sets them.
        unfinished: how a training that did not come to its end ended; "" for all others. It is part of the `name`.
        start: the weights that `fit` starts from, once it was called; `load_state_dict` sets others.
        origin: checksum of the weights that `from_pretrained` read, "" where it was built.
    """

    def __init__(self, fusion: nn.Module, item_ids, user_ids, titles, about: dict, texts: ItemTexts | None = None):
        super().__init__()
        self._hub_mixin_config = None  # one self-contained file holds everything
        self.fusion, self.texts, self.about = fusion, texts, about
        self.items = pd.Series(list(titles), index=pd.Index(item_ids, name="item_id"), name="title")
        self.users = pd.Index(user_ids, name="user_id")
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("shift", torch.zeros(()))
        self.objective, self.measured, self.trained = "label", [], None
        self.unfinished, self.start, self.origin = "", None, ""
        self.eval()

    @classmethod
    def from_split(
        cls,
        split,
        encoder=None,
        fusion="dot",
        mode="frozen",
        *,
        tuning=None,
        knowledge="true",
        profile="features",
        texts=None,
        seed=0,
        **settings,
    ) -> "KLMRecommender":
        """An untrained model that knows of the interactions what is in `split.train` (and `split.shown`).

        Args:
            split: a `Split`, which knows its data set.
            encoder: a `TextEncoder`; None: no text.
            fusion: a name in `klm_utils.fusion.FUSIONS`; `settings` are its own (width, text_width, start, ...). "dot"
                has the highest AUC on valid, mean over the four tables of notebook 03 (docs/results/03.json,
                `on_valid`), and is the fastest.
            mode: "frozen": the texts of the items are encoded once. "adapter", "partial", "full": `fit` trains a copy
                of the language model too, see `klm_utils.embedding.modes.tuned`. The encoder is never changed.
            tuning: options of the mode: rank, layers, tokens, checkpointing.
            knowledge: "true", or a control of `klm_utils.knowledge.controls` in place of the text vectors of the items;
                where the language model is trained, "true" or "shuffled", which then are the texts themselves.
            profile: of the users as "features", as "text" (`user_text`, encoded once), or "both".
            texts: of the items, one for each in the order of `ds.items`; None: `item_texts(ds)`.
            seed: of the start values, and of the control.

        Raises:
            ConfigError: a name without meaning; texts, a profile as text, or a mode that trains, without an encoder.
            DataError: not one text per item.
        """
        check_build(split, encoder, fusion, mode, tuning, knowledge, profile, settings)
        ds = split.dataset
        texts = checked_texts(ds, texts, encoder)
        profiles = [] if profile == "features" else user_texts(ds)
        seed = check_seed(seed, "KLMRecommender.from_split(seed)")
        text = None if encoder is None else controlled(encoder.encode(texts), knowledge, seed)
        user_text = encoder.encode(profiles) if profiles else None
        settings = settings_of(fusion) | settings
        network = FUSIONS[fusion](catalogue.catalogue_of(split, text, user_text, profile), seed=seed, **settings)
        about = {
            "data": ds.name,
            "protocol": split.protocol,
            "encoder": None if encoder is None else {"name": encoder.name, "fingerprint": encoder.fingerprint},
            "knowledge": "absent" if encoder is None else knowledge,
            "texts": sha256(json.dumps([texts, profiles]).encode()).hexdigest(),
            "profile": profile,
            "mode": mode,
            "tuning": modes.options(mode, tuning),
            "fusion": fusion,
            "settings": settings,
            "seed": seed,
        }
        read_along = None if mode == "frozen" else _item_texts(encoder, mode, tuning, texts, knowledge, seed)
        return cls(network, ds.items.index, ds.users.index, ds.items["title"], about, read_along)

    @property
    def name(self) -> str:
        """For tables and reports: "KLM minilm", "KLM minilm full shuffled", "KLM without text", "KLM gate minilm"."""
        about = self.about
        fusion = "" if about["fusion"] == "dot" else f"{about['fusion']} "
        end = f" ({self.unfinished})" if self.unfinished else ""
        if about["encoder"] is None:
            return f"KLM {fusion}without text{end}"
        mode = "" if about["mode"] == "frozen" else f" {about['mode']}"
        kind = "" if about["knowledge"] == "true" else f" {about['knowledge']}"
        return f"KLM {fusion}{Path(about['encoder']['name']).name}{mode}{kind}{end}"

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

    def grid(self, users, items, text=None, draw=None) -> torch.Tensor:
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
        if self.texts is not None:
            items = torch.arange(len(self.items), device=self.device) if items is None else items
            self.fusion.text = self.fusion.text.index_copy(0, items, self.read(items))

    @property
    def device(self) -> torch.device:
        """Where the fusion is; the language model may be elsewhere."""
        return self.fusion.constant.device

    def positions(self, user_ids, item_ids) -> tuple[torch.Tensor, torch.Tensor]:
        """Positions of ids, int64 [n] each.

        Raises:
            DataError: an id that is not in the data set, or two lists of different lengths.
        """
        user_ids, item_ids = paired(user_ids, item_ids)
        return self._places(self.users, user_ids, "user_ids"), self._places(self.items.index, item_ids, "item_ids")

    @torch.no_grad()
    def scores(self, user_ids, item_ids) -> np.ndarray:
        """The raw score of each pair, float64 [n]: predicted rating, or logit; errors of `positions`."""
        return self._in_pieces(self.fusion, *self.positions(user_ids, item_ids))

    def _in_pieces(self, score, u: torch.Tensor, i: torch.Tensor) -> np.ndarray:
        self.eval()
        chunks = [score(a, b) for a, b in zip(u.split(PAIRS_AT_ONCE), i.split(PAIRS_AT_ONCE), strict=True)]
        return torch.cat(chunks).double().cpu().numpy() if len(u) else np.zeros(0)

    @torch.no_grad()
    def predict(self, user_ids, item_ids) -> np.ndarray:
        """Probability of a like (objective "label") or a choice ("interaction") for each pair, float64 [n].

        Ids that are new in the data set are scored by what else is known of them.

        Raises:
            DataError: an id that is not in the data set, or two lists of different lengths.
        """
        return expit(self._in_pieces(self, *self.positions(user_ids, item_ids)))

    @torch.no_grad()
    def predict_grid(self, user_ids, item_ids) -> np.ndarray:
        """`predict` for every user with every item, float64 [users, items]."""
        u, i = self._places(self.users, user_ids, "user_ids"), self._places(self.items.index, item_ids, "item_ids")
        self.eval()
        return expit(self.grid(u, i).double().cpu().numpy())

    def recommend(self, user_id, k: int = 10, exclude_seen: bool = True, history=None) -> pd.DataFrame:
        """The k items with the highest probability for one user, and why.

        Args:
            user_id: a user of the data set.
            k: how many.
            exclude_seen: leave out the items of the history, the user's own and the one given.
            history: item ids to use in place of the user's own history, the oldest first.

        Returns:
            `item_id`, `title`, `score` (probability) and `because`: the parts of the score that speak for this item
            against the average item, with their share in the log-odds, the strongest first; of the history the
            total and its two strongest items. `explain` has all parts.

        Raises:
            DataError: an id that is not in the data set.
            ConfigError: k is not a whole number of at least 1, exclude_seen neither true nor false.
        """
        k, exclude_seen = check_whole("k", k), check_flag("exclude_seen", exclude_seen)
        user, past = self._asked(user_id, history)
        self.eval()
        scores, means = self.fusion.overview(user, past)
        logits, everything = self.scale * scores + self.shift, torch.arange(len(scores), device=scores.device)
        order = (-logits).argsort(stable=True)
        if exclude_seen:
            seen = self.fusion.met(everything.new_tensor(user), everything)
            seen = seen if past is None else seen.index_fill(0, past, True)
            order = order[~seen[order]]
        order, because = order[:k], []
        for some in order.split(WINNERS):  # an item is chosen for what sets it apart
            gain = self._parts(user, past, some) - self.scale.item() * np.array(list(means.values()))
            because += [_because(gain.iloc[at], self.items.iloc[place]) for at, place in enumerate(some.tolist())]
        places = order.cpu().numpy()
        return pd.DataFrame(
            {
                "item_id": self.items.index[places],
                "title": self.items.to_numpy()[places],
                "score": expit(logits[order].cpu().numpy()),
                "because": because,
            }
        )

    def explain(self, user_id, item_id, history=None) -> pd.Series:
        """The log-odds of `predict` for one pair taken apart; the parts sum to it (in float32).

        Returns:
            float64, indexed by part: "average", "user", "item id", "item text", "item tags", and the title of each
            item of the history ("history: ..."). Errors as `recommend`.
        """
        item = self._places(self.items.index, [item_id], "item_id")
        parts = self._parts(*self._asked(user_id, history), item).iloc[0]
        parts[BASE] += self.shift.item()
        return parts.rename(self.items.iloc[int(item)])

    def _places(self, index: pd.Index, ids, argument: str) -> torch.Tensor:
        """Positions of ids in an index, int64 [n]; an id that is not there raises `DataError`."""
        ids = np.asarray(ids)
        if ids.ndim != 1:
            raise DataError(
                "ids are not a flat list",
                where=argument,
                found=f"shape {ids.shape}",
                expected="one id after the other",
                remedy="pass a flat list, and a single id where one is asked for",
            )
        places = find(index, ids, argument)
        return torch.from_numpy(places.astype(np.int64)).to(self.device)

    def _asked(self, user_id, history) -> tuple[int, torch.Tensor | None]:
        """Positions of a user, and of a history that is to replace their own."""
        user = int(self._places(self.users, [user_id], "user_id"))
        if history is not None:
            places = self._places(self.items.index, history, "history").tolist()
            last = list(dict.fromkeys(reversed(places)))[::-1]  # each once, where it was chosen last
            history = torch.tensor(last, dtype=torch.int64, device=self.device)
        return user, history

    def _parts(self, user: int, history: torch.Tensor | None, items: torch.Tensor) -> pd.DataFrame:
        """Scaled parts of the score of one user for items, all by position: a row for each item."""
        self.eval()
        parts = self.fusion.parts(user, items, history)
        names = [PAST + self.items.iloc[key] if isinstance(key, int) else key for key in parts]
        table = np.stack([part.double().cpu().numpy() for part in parts.values()], axis=1) * self.scale.item()
        return pd.DataFrame(table, columns=names)

    def load_state_dict(self, *args, **options):
        """As of any torch module; `fit` starts from these weights then."""
        self.start = None
        return super().load_state_dict(*args, **options)

    def _save_pretrained(self, save_directory: Path) -> None:
        saving.save(self, Path(save_directory))

    def save_pretrained(self, save_directory, reports=(), **options):
        """Write the model to a folder: `model.safetensors`, which needs nothing else, and a model card.

        A language model that was trained along goes beside them, as a folder that `TextEncoder.from_pretrained` reads;
        the card has the call.

        Args:
            save_directory: the folder.
            reports: of `klm.evaluate`, for the card.
            options: push_to_hub=True, and with it repo_id (else the name of the folder), token, private, ...

        Raises:
            CheckpointError: the folder cannot be written, and a model that was there is unharmed; it holds a model of
                another kind; the hub did not take the model.
            ConfigError: no folder, reports that are none, an option that there is not.
        """
        for name in options:
            check_choice("option of the hub", name, ("push_to_hub", "repo_id", *HUB))
        push, repo = check_flag("push_to_hub", options.pop("push_to_hub", False)), options.pop("repo_id", None)
        measured = card.measured(reports)
        check_home(save_directory)
        folder, before = Path(save_directory).expanduser(), self.measured
        self.measured = measured or before
        try:
            super().save_pretrained(folder)
        except (OSError, SafetensorError) as fault:
            self.measured = before
            raise CheckpointError(
                "the model cannot be saved here",
                where=str(folder),
                found=str(fault),
                expected="a folder that can be written, with room on the disk",
                remedy="choose another folder or free some room",
            ) from fault
        if push:
            try:
                return self.push_to_hub(repo or folder.name, **options)
            except Exception as fault:  # of the hub, of its network library, of the operating system
                raise CheckpointError(
                    "the model is saved, but the hub did not take it",
                    where=f"push_to_hub, {repo or folder.name}",
                    found=f"{type(fault).__name__}: {fault}"[:300],
                    expected="a network, and the right to write there",
                    remedy="log in with `hf auth login`, then call model.push_to_hub(repo_id)",
                ) from fault
        return None

    @classmethod
    def from_pretrained(cls, path, **hub) -> "KLMRecommender":
        """A model that `save_pretrained` wrote, from a folder or (`hub`: revision, token, ...) from the hub.

        Raises:
            CheckpointError: nothing there, a file that is cut short or edited, or one of another kind of model.
            ConfigError: an option that the hub does not have.
        """
        for name in hub:
            check_choice("option of the hub", name, tuple(signature(hf_hub_download).parameters))
        return cls._from_pretrained(model_id=str(path), **hub)

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **hub) -> "KLMRecommender":
        folder = Path(model_id).expanduser()
        if not folder.is_absolute() and len(folder.parts) == 2 and not folder.parent.is_dir():
            folder = _downloaded(model_id, hub)
        network, scale, shift, saved = saving.load(folder / FILE)
        model = cls(network, saved["item_ids"], saved["user_ids"], saved["titles"], saved["about"])
        model.scale, model.shift, model.objective = scale, shift, saved["objective"]
        model.trained, model.measured = saved.get("trained"), saved.get("measured", [])
        model.unfinished, model.origin = saved.get("unfinished", ""), files.checksum(network.state_dict(), "")
        return model


def _item_texts(encoder, mode: str, tuning, texts: list[str], knowledge: str, seed: int) -> ItemTexts:
    """The texts for a language model that is trained; shuffled, each is where `controlled` has its vector."""
    order = others(len(texts), seed) if knowledge == "shuffled" else range(len(texts))
    return ItemTexts(modes.tuned(encoder, mode, tuning, seed), [texts[place] for place in order])


def _downloaded(model_id: str, hub: dict) -> Path:
    """The folder of a model of the hub."""
    try:
        hub = hub | ({"local_files_only": True} if offline() else {})
        return Path(hf_hub_download(model_id, FILE, **hub)).parent
    except (OSError, ValueError) as fault:  # the hub's own errors are kinds of these
        raise CheckpointError(
            "there is neither a folder nor a model of the hub of this name",
            where=model_id,
            found=str(fault)[:300],
            expected="a folder that save_pretrained wrote, or a hub id",
            remedy="check the spelling; for the hub also the network, and that KLM_OFFLINE is not set",
        ) from fault


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
