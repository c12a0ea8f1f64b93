"""The simulated shop: 600 items and 2,000 users in Chinese and English, 60 days, and the true probability of each
purchase. Card: `data/shop/README.md`; rules: `world.py`; it was written by `data/shop/make.py`.
"""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from klm_utils.data.schema import RecDataset
from klm_utils.data.shipped import shipped
from klm_utils.data.shop.world import DAY, NEW_AFTER, START, History, World, simulate, uniform, world_of
from klm_utils.errors import DataError, check_choice, check_seed
from klm_utils.lazy import modules

USERS, NEW_USERS = 2000, 200
LANGUAGES = ("zh", "en")
_PROFILE = ["age", "gender", "city_tier", "interests", "joined"]
FACTS = ("kind", "season", "topics", "goes_with")
_SEASONS: tuple[list[str], ...] = ([], ["spring"], ["summer"], ["autumn"], ["winter"])
_ITEM_WORDS = ("title", "description", "tags", "brand", "category", "subcategory")


def load(language: str = "zh") -> RecDataset:
    """The shop in one language.

    items: `title`, `description`, `tags`, `brand`, `category`, `subcategory`, `price` (yuan), `launched` (seconds).
    users: `age`, `gender`, `city_tier` (1-4), `interests`, `joined` (seconds).
    interactions: every item that came into view; label 1 is a purchase; also `list`, `position` (slot in the list) and
    `propensity` (chance to come into view). A user sees an item once at most. `optimum` is the true probability.
    Items launched and users joined in the last ten days have no row before.

    Raises:
        ConfigError: another language than "zh" or "en".
        AssetError: the files are not where the package expects them.
    """
    check_choice("language", language, LANGUAGES)
    log = _read("interactions.csv.gz")
    users = _read("users.csv")
    return _dataset(users, log, probability(log["user_id"], log["item_id"], log["timestamp"]), language, "shop")


def resimulated(seed: int, language: str = "zh") -> RecDataset:
    """The same catalogue with other users and another log: a claim about the shop is pooled over a few of them.

    Seed 0 is the shop that ships.

    Raises:
        ConfigError: another language than "zh" or "en"; no seed.
    """
    check_choice("language", language, LANGUAGES)
    seed = check_seed(seed, "shop.resimulated(seed)")
    users = draw_users(_read("latent_interests.csv"), seed)
    log = simulate(_world(users), seed)
    log["user_id"] = users["user_id"].to_numpy()[log.pop("user")]
    log["item_id"] = _read("items.csv")["item_id"].to_numpy()[log.pop("item")]
    return _dataset(users, log, log.pop("p").to_numpy(), language, f"shop, users of seed {seed}")


def with_facts(ds: RecDataset, language: str = "zh") -> RecDataset:
    """The shop with what its generator knows of each item as columns of facts (`ds.facts`), each a list of str.

    kind: the type of product, one word. season: its season, or []. topics: whom it is for. goes_with: the kinds that it
    complements: who has bought one of them is more likely to buy it. Quality, weight and tastes stay hidden.

    Args:
        ds: `load(language)` or `resimulated(seed, language)`.

    Raises:
        ConfigError: another language than "zh" or "en".
    """
    check_choice("language", language, LANGUAGES)
    words, latent = _read("items.csv").set_index("item_id"), _read("latent_items.csv").set_index("item_id")
    pairs = _read("latent_complements.csv")
    brand, title = words[f"brand_{language}"], words[f"title_{language}"]
    rest = pd.Series([t.removeprefix(b).strip() for t, b in zip(title, brand, strict=True)], words.index)
    name = rest.groupby(latent["kind"]).agg(lambda own: own.iloc[-1])  # the first three have titles of their own
    partners = pairs["bought"].map(name).groupby(pairs["more_likely"]).agg(list)
    columns = {
        "kind": [[name[k]] for k in latent["kind"]],
        "season": [_SEASONS[s] for s in latent["season"]],
        "topics": [[pair.split(":")[0] for pair in text.split("|")] for text in latent["topics"]],
        "goes_with": [partners.get(k, []) for k in latent["kind"]],
    }
    facts = pd.DataFrame(columns, index=latent.index).reindex(ds.items.index)
    return replace(ds, items=ds.items.join(facts), facts=FACTS)


def probability(users: ArrayLike, items: ArrayLike, times: ArrayLike) -> np.ndarray:
    """True probability that a user who sees an item at a time buys it, float64 [n].

    It knows the log of the shop: purchases before that time count (a complement is more likely, a second of the same
    type less), so this is the best that anyone can predict.

    Args:
        users, items: ids, [n].
        times: seconds since 1970, [n].

    Raises:
        DataError: an id that is not in the shop, a time that is no number, or arrays of different lengths.
    """
    users, items, times = (np.atleast_1d(np.asarray(x)) for x in (users, items, times))
    if not users.shape == items.shape == times.shape or users.ndim != 1:
        what, shapes = "users, items and times do not go together", (users.shape, items.shape, times.shape)
        remedy = "pass one user, one item and one time for each probability"
        raise DataError(what, "shop.probability", shapes, "three flat lists of equal length", remedy)
    if times.dtype.kind not in "iuf" or not np.isfinite(times).all():
        what, remedy = "times are no finite numbers", "pass timestamps as the log of the shop has them"
        raise DataError(what, "shop.probability(times)", times[:3].tolist(), "seconds since 1970", remedy)
    u = _places(users, _read("users.csv")["user_id"], "users")
    i = _places(items, _read("items.csv")["item_id"], "items")
    shop, history = _shipped_world()
    return shop.probability(u, i, times, *history.before(u, i, times))


def draw_users(interests: pd.DataFrame, seed: int) -> pd.DataFrame:
    """2,000 users: `user_id`, `age`, `gender`, `city_tier`, `interests_zh`, `interests_en`, `joined`, `topics`.

    Args:
        interests: the words users choose from, with `topic`, `zh`, `en`.
        seed: of the draw. In seed 0 the first three are those of the article.
    """
    rows = []
    topics = list(dict.fromkeys(interests["topic"]))
    words = {topic: part[["zh", "en"]].to_numpy().tolist() for topic, part in interests.groupby("topic")}
    numbers = np.arange(USERS)
    for n in range(USERS):
        wanted = 3 + int(4 * uniform(seed, "interests", n))
        mine = np.argsort(uniform(seed, "topic", n, np.arange(len(topics))), kind="stable")[:wanted]
        picked = [words[topics[k]][int(len(words[topics[k]]) * uniform(seed, "word", n, k))] for k in mine]
        rows.append([[topics[k] for k in mine], [zh for zh, _ in picked], [en for _, en in picked]])
    if seed == 0:
        of = {zh: (topic, en) for topic, zh, en in interests.itertuples(index=False, name=None)}
        for n, named in enumerate((["篮球", "电影", "科技"], ["烹饪", "旅游", "音乐"], ["健身", "电影", "科技"])):
            rows[n] = [[of[zh][0] for zh in named], named, [of[zh][1] for zh in named]]
    age = 18 + np.floor(50 * uniform(seed, "age", numbers) ** 1.3).astype(int)
    gender = np.where(uniform(seed, "gender", numbers) < 0.5, "female", "male").astype(object)
    if seed == 0:
        age[:3], gender[:3] = [25, 30, 35], ["male", "female", "male"]
    late = NEW_AFTER + np.floor(8 * uniform(seed, "joined", numbers)).astype(int)
    return pd.DataFrame(
        {
            "user_id": numbers + 1,
            "age": age,
            "gender": gender,
            "city_tier": 1 + np.floor(4 * uniform(seed, "tier", numbers)).astype(int),
            "interests_zh": ["|".join(zh) for _, zh, _ in rows],
            "interests_en": ["|".join(en) for _, _, en in rows],
            "joined": START + DAY * np.where(numbers >= USERS - NEW_USERS, late, 0),
            "topics": [topics for topics, _, _ in rows],
        }
    )


def _world(users: pd.DataFrame) -> World:
    return world_of(_read("items.csv"), _read("latent_items.csv"), _read("latent_complements.csv"), users)


@cache
def _shipped_world() -> tuple[World, History]:
    topic = _read("latent_interests.csv").set_index("zh")["topic"]
    users = _read("users.csv")
    shop = _world(users.assign(topics=[[topic[word] for word in text.split("|")] for text in users["interests_zh"]]))
    log, history = _read("interactions.csv.gz"), History(shop)
    log = log[log["bought"] == 1]
    u = _places(log["user_id"].to_numpy(), users["user_id"], "users")
    i = _places(log["item_id"].to_numpy(), _read("items.csv")["item_id"], "items")
    history.add(u, i, log["timestamp"].to_numpy())
    return shop, history


def _read(name: str) -> pd.DataFrame:
    return pd.read_csv(shipped(f"shop/{name}"), keep_default_na=False)


def _dataset(users: pd.DataFrame, log: pd.DataFrame, optimum: np.ndarray, language: str, name: str) -> RecDataset:
    items, triples = _read("items.csv"), _read("triples.csv")
    items = items.rename(columns={f"{word}_{language}": word for word in _ITEM_WORDS})
    items["tags"] = items["tags"].str.split("|")
    interests = users[f"interests_{language}"].str.split("|")
    log = log.rename(columns={"bought": "label"})
    triples = triples.rename(columns={f"head_{language}": "head", f"tail_{language}": "tail"})
    return RecDataset(
        name=name,
        items=items.set_index("item_id")[[*_ITEM_WORDS, "price", "launched"]],
        users=users.assign(interests=interests).set_index("user_id")[_PROFILE],
        interactions=log.assign(rating=log["label"].astype("float64")),
        triples=triples[["head", "relation", "tail"]],
        license="CC0 1.0",
        source="simulated, data/shop/make.py",
        optimum=optimum,
        chosen_by="label",
    )


def _places(ids: np.ndarray, known: pd.Series, argument: str) -> np.ndarray:
    places = pd.Index(known).get_indexer(ids)
    if (places < 0).any():
        at = int(np.flatnonzero(places < 0)[0])
        where, found = f"shop.probability({argument}), position {at}", ids[at : at + 1].tolist()[0]
        expected, remedy = f"an id of the shop, 1 to {len(known)}", "use ids of klm.load_dataset('shop')"
        raise DataError("an id is not in the shop", where, found, expected, remedy)
    return places


__getattr__, __dir__ = modules(__name__)
