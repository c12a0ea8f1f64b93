"""A KLMRecommender from a split, and one that knows new items as well."""

import copy
import json
from collections.abc import Sequence
from hashlib import sha256
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from klm_utils.data.catalogue import catalogue_of
from klm_utils.data.features import SideFeatures, item_features, user_features
from klm_utils.data.schema import RecDataset
from klm_utils.data.splits import Split
from klm_utils.embedding import modes
from klm_utils.embedding.encoder import TextEncoder
from klm_utils.errors import ConfigError, DataError, check_choice, check_kind, check_options, check_seed
from klm_utils.fusion import FUSIONS
from klm_utils.knowledge.controls import KINDS, others
from klm_utils.knowledge.controls import knowledge as controlled
from klm_utils.knowledge.templates import fields_of, user_texts
from klm_utils.knowledge.vectors import FactVectors
from klm_utils.models.item_texts import Borrowed, ItemTexts, described, texts_of

if TYPE_CHECKING:
    from klm_utils.models.recommender import KLMRecommender

PROFILES = ("features", "text", "both")
READABLE = ("true", "shuffled")  # a language model that is trained reads texts; the other controls are vectors


def from_split(
    cls: "type[KLMRecommender]",
    split: Split,
    encoder: TextEncoder | None = None,
    fusion: str = "dot",
    mode: str = "frozen",
    *,
    tuning: dict | None = None,
    knowledge: str = "true",
    profile: str = "features",
    text: Sequence[str] | None = None,
    texts: Sequence[str] | None = None,
    facts: Sequence[str] | np.ndarray = (),
    seed: int = 0,
    **settings,
) -> "KLMRecommender":
    """An untrained model that knows of the interactions what is in `split.train` (and `split.shown`).

    Args:
        split: a `Split`, which knows its data set.
        encoder: a `TextEncoder`; None: no text.
        fusion: a name in `klm_utils.fusion.FUSIONS`; `settings` are its own (width, text_width, start, ...). "dot" is
            the fastest, and has the highest AUC on valid, mean over the four tables of docs/results/03.json.
        mode: "frozen": the texts of the items are encoded once. "adapter", "partial", "full": `fit` trains a copy of
            the language model too, see `modes.tuned`; `tuning`: its rank, layers, tokens, checkpointing.
        knowledge: "true", or a control of `klm_utils.knowledge.controls` in place of the text vectors of the items;
            where the language model is trained, "true" or "shuffled", which then are the texts themselves.
        profile: of the users as "features", as "text" (`user_text`, encoded once), or "both".
        text: columns of the items that make up their texts, see `item_text`; None: title, year, tags where they are.
        texts: in place of these the texts themselves, one for each item in the order of `ds.items`.
        facts: columns of lists, such as `split.dataset.facts`, that become `FactVectors`, or vectors of your own, float
            [items, h]. A language model reads facts where `text` names their columns.
        seed: of the start values, and of the control.

    Raises:
        ConfigError: a name without meaning; texts, a profile as text, or a mode that trains, without an encoder.
        DataError: not one text per item; a column that is not there, or has no facts.
    """
    _check_kinds(split, encoder, fusion)
    defaults, tuning = _settings_of(fusion), modes.options(mode, tuning)
    _check_names(fusion, settings, defaults, mode, knowledge, profile)
    seed = check_seed(seed, "KLMRecommender.from_split(seed)")
    given = {"mode": mode != "frozen", "profile": profile != "features", "start": settings.get("start") == "text"}
    _check_readable(encoder, given | {"text": text is not None, "texts": texts is not None})
    ds, ids, settings = split.dataset, (split.dataset.items.index, split.dataset.users.index), defaults | settings
    profiles = [] if profile == "features" else user_texts(ds)
    columns = list(fields_of(ds.items, text, "from_split(text)")) if encoder else []
    words = texts_of(ds.items, columns, texts) if encoder else []
    vectors = controlled(encoder.encode(words), knowledge, seed) if encoder else None
    user_text = encoder.encode(profiles) if encoder and profiles else None
    (of_items, values), (of_users, user_values) = item_features(split), user_features(split)
    user_values = user_values[:, :0] if profile == "text" else user_values
    reduced, known = _facts_of(split, facts)
    catalogue = catalogue_of(split, vectors, user_text, values, user_values, known)
    network = FUSIONS[fusion](catalogue, seed=seed, **settings)
    about: dict = {"data": ds.name, "protocol": split.protocol, "encoder": described(encoder), "tuning": tuning}
    about |= {"knowledge": knowledge if encoder else "absent", "profile": profile, "mode": mode, "fusion": fusion}
    about |= {"texts": sha256(json.dumps([words, profiles]).encode()).hexdigest(), "settings": settings, "seed": seed}
    about["reads"] = _reads(ds.items, None if texts is not None else columns, of_items, of_users, facts)
    read_along = _tuned(encoder, mode, tuning, words, knowledge, seed) if encoder and mode != "frozen" else None
    return cls(network, *ids, ds.items["title"], about, of_items, read_along, encoder, reduced)


def _check_kinds(split: Split, encoder: TextEncoder | None, fusion: str) -> None:
    check_kind("from_split(split)", split, Split, "a Split", "klm.split(ds, ...)")
    check_kind("from_split(encoder)", encoder, TextEncoder | None, "a TextEncoder, or None for no text")
    check_choice("fusion", fusion, tuple(FUSIONS))


def _check_names(fusion: str, settings: dict, known: dict, mode: str, knowledge: str, profile: str) -> None:
    check_options(f"setting of the fusion {fusion!r}", settings, known)
    check_choice("knowledge", knowledge, KINDS if mode == "frozen" else READABLE)
    check_choice("profile", profile, PROFILES)


def _facts_of(split: Split, facts: Sequence[str] | np.ndarray) -> tuple[FactVectors | None, np.ndarray | None]:
    """What makes vectors of facts, learnt on the items of train, and those of all items; None where there are none."""
    items = split.dataset.items
    if isinstance(facts, np.ndarray):
        if facts.ndim != 2 or len(facts) != len(items) or not np.isfinite(facts.astype(float)).all():
            where, found = "from_split(facts)", f"shape {facts.shape}, {facts.dtype}"
            raise DataError("these are no vectors of the items", where, found, f"finite, float [{len(items)}, h]")
        return None, facts.astype("float32")
    if not len(facts):
        return None, None
    reduced = FactVectors.fit(items[items.index.isin(split.train["item_id"])], facts)
    return reduced, reduced.transform(items)


def _check_readable(encoder: TextEncoder | None, given: dict[str, bool]) -> None:
    """What was asked for and reads texts needs somebody who reads them."""
    for which in (name for name, needs in given.items() if needs and encoder is None):
        what = f"{which} needs an encoder, to read texts with"
        raise ConfigError(what, f"from_split({which})", "encoder=None", "a TextEncoder", f"pass it, or no {which}")


def with_items(
    model: "KLMRecommender", frame: pd.DataFrame, texts: Sequence[str] | None, encoder: TextEncoder | None
) -> "KLMRecommender":
    """See `KLMRecommender.with_items`."""
    check_kind("with_items(frame)", frame, pd.DataFrame, "a table like ds.items")
    reads, known = model.about["reads"], model.items.index
    if reads["facts"] is None:
        what, remedy = "the model has vectors of facts of your own, and none of new items", "name columns as facts"
        raise ConfigError(what, "with_items", "vectors", "a model of columns of facts", remedy)
    fields_of(frame, ["title", *(reads["text"] or []), *reads["features"], *reads["facts"]], "with_items(frame)")
    nobody = pd.DataFrame({"user_id": [0]})
    new = RecDataset.from_frames(frame, nobody, None, name="new items").items  # keeps the rules of items
    again = new.index.intersection(known)
    if len(again) or new.index.inferred_type != known.inferred_type:
        found = (again if len(again) else new.index)[:5].tolist()
        expected = f"ids of the kind of {known[:1].tolist()[0]!r} that the model does not know"
        raise DataError("these are no ids of new items", "with_items(frame)", found, expected, "give them other ids")
    words = _words_of(model, new, texts)
    vectors = torch.zeros(len(new), model.fusion.text.shape[1])
    if words and model.about["knowledge"] == "true":
        vectors = torch.from_numpy(_reader(model, encoder).encode(words))
    other = copy.deepcopy(model)
    features = torch.from_numpy(model.features.transform(new))
    facts = torch.zeros(len(new), 0) if model.facts is None else torch.from_numpy(model.facts.transform(new))
    other.fusion.add_items(*(table.to(model.device) for table in (vectors, features, facts)))
    other.items, other.start = pd.concat([model.items, new["title"]]), None
    if other.texts is not None:
        other.texts.ids += other.texts.encoder.tokenize(words)
    return other


def _words_of(model: "KLMRecommender", new: pd.DataFrame, texts: Sequence[str] | None) -> list[str]:
    """The texts of new items, as the model reads those of its own."""
    about, own = model.about, model.about["reads"]["text"] is None
    if (texts is not None) != own:
        what = "the model was built with texts of your own" if own else "the model reads no texts of your own"
        raise ConfigError(
            what, "with_items(texts)", texts, "one for each item" if own else "None", "as when it was built"
        )
    if about["encoder"] is None:
        return []
    if about["knowledge"] not in ("true", "absent"):
        what, expected = "a model of a control has no text for new items", "knowledge 'true' or 'absent'"
        raise ConfigError(what, "with_items", about["knowledge"], expected, "use the model with the true texts")
    return texts_of(new, about["reads"]["text"], texts)


def _reader(model: "KLMRecommender", given: TextEncoder | None) -> TextEncoder:
    """The encoder that made the text vectors of a model."""
    if model.texts is not None:
        return model.texts.encoder
    if model.about["mode"] == "frozen":
        about = model.about["encoder"]
        return model.encoder.find(about["name"], about["call"], about["fingerprint"], given)
    trained = model.trained or {"folder": "encoder-none", "call": {}}
    folder, mark = str(Path(model.home or ".") / trained["folder"]), trained["folder"].removeprefix("encoder-")
    return Borrowed().find(folder, trained["call"], mark, given)


def _settings_of(fusion: str) -> dict:
    """The settings of a fusion and their defaults."""
    fixed = getattr(FUSIONS[fusion], "keywords", {}).keys() | {"catalogue", "seed"}
    return {name: p.default for name, p in signature(FUSIONS[fusion]).parameters.items() if name not in fixed}


def _reads(
    items: pd.DataFrame,
    text: list[str] | None,
    of_items: SideFeatures,
    of_users: SideFeatures,
    facts: Sequence[str] | np.ndarray,
) -> dict:
    """Which columns are read as `text`, side features, facts, and which are not; None: they are of the user's own."""
    features, profile = ([column["name"] for column in one.columns] for one in (of_items, of_users))
    known = None if isinstance(facts, np.ndarray) else [*facts]
    unread = [str(name) for name in items if name not in {*features, *(text or []), *(known or [])}]
    return {"text": text, "features": features, "facts": known, "profile": profile, "unread": unread}


def _tuned(encoder: TextEncoder, mode: str, tuning: dict, texts: list[str], knowledge: str, seed: int) -> ItemTexts:
    """The texts for a language model that is trained; shuffled, each is where `controlled` has its vector."""
    order = others(len(texts), seed) if knowledge == "shuffled" else range(len(texts))
    return ItemTexts(modes.tuned(encoder, mode, tuning, seed), [texts[place] for place in order])
