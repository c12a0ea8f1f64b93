"""The rules of the simulated shop: what a visitor is shown, what he sees of it, and whether he buys.

Every number is a function of a seed and of what it is drawn for, by a hash: the stream depends neither on the order of
the draws nor on the version of a library. No matrix product is used, and a probability is rounded before it decides.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

START = 1_761_926_400  # 2025-11-01 00:00 in China (UTC+8), in seconds
DAYS, NEW_AFTER = 60, 50  # 1 November to 30 December; new items and new users come in the last ten days
DAY = 86_400
SLOTS, SURE = 18, 4  # a list has 18 slots, the first 4 are always seen, then fewer and fewer visitors scroll on
STEP = 2  # seconds from one slot to the next
PROMOTED = 4.0  # new items are shown so many times as often as others of their popularity
# log-odds of a purchase
BASE, MATCH, PRICE, SEASON, COMPLEMENT, SAME_TYPE = -2.7, 2.2, 0.1, 0.6, 1.0, -1.2
# category -> (of women, per ten years of age above 40); both 0 elsewhere
PROFILE = {
    "Beauty & Care": (0.5, -0.1),
    "Fashion & Bags": (0.3, -0.1),
    "Family & Pets": (0.2, -0.15),
    "Home": (0.1, 0.1),
    "Food & Drink": (0.0, 0.1),
    "Phones & Digital": (-0.2, -0.15),
    "Computers & Office": (-0.2, -0.1),
    "Car Supplies": (-0.4, 0.05),
    "Sports & Outdoors": (-0.1, -0.1),
    "Garden & Crafts": (0.1, 0.2),
}


def uniform(seed: int, what: str, *counters: ArrayLike) -> np.ndarray:
    """Numbers in [0, 1), float64: one for each entry of the counters (int arrays that broadcast).

    Source: Steele, Lea and Flood 2014, Fast splittable pseudorandom number generators (the finaliser of SplitMix64).
    """
    state: Any = np.uint64(int.from_bytes(hashlib.sha256(f"{what}:{seed}".encode()).digest()[:8], "little"))
    with np.errstate(over="ignore"):
        for counter in counters:
            step = (np.asarray(counter).astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
            state = _mixed(state + step)
    return (state >> np.uint64(11)).astype(np.float64) / 2.0**53


def _mixed(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@dataclass(frozen=True, eq=False)
class World:
    """What decides a purchase, but for time and history.

    static: log-odds of every pair, float [users, items].
    season: 0 for none, 1-4 for spring to winter, int [items].
    kind: product type, int [items].
    complements: complements[a, b]: b goes with a: who bought an a is more likely to buy a b, bool [types, types].
    weight: how often an item is shown, float [items].
    launched, joined: seconds, int [items], [users].
    """

    static: np.ndarray
    season: np.ndarray
    kind: np.ndarray
    complements: np.ndarray
    weight: np.ndarray
    launched: np.ndarray
    joined: np.ndarray

    def probability(
        self, u: np.ndarray, i: np.ndarray, t: np.ndarray, with_complement: np.ndarray, with_same: np.ndarray
    ) -> np.ndarray:
        """Of a purchase, rounded to six digits. u, i: positions; t: seconds; the two last: bool, from the history."""
        z = self.static[u, i] + SEASON * in_season(self.season[i], t)
        z = z + COMPLEMENT * with_complement + SAME_TYPE * with_same
        return np.round(1 / (1 + np.exp(-z)), 6)


def in_season(season: np.ndarray, t: np.ndarray) -> np.ndarray:
    """1 in its season (November is autumn, December winter), -1 out of it, 0 for things without season."""
    now = np.where(np.asarray(t) < START + 30 * DAY, 3, 4)
    return np.where(season == 0, 0, np.where(season == now, 1, -1))


def world_of(items: pd.DataFrame, latent: pd.DataFrame, complements: pd.DataFrame, users: pd.DataFrame) -> World:
    """From the items and the tables of latent factors that ship with the data (card: `data/shop/README.md`).

    Args:
        items: `launched`.
        latent: of the same items, `topics` ("tech:1|photo:0.5"), `quality`, `price_z`, `season`, `kind`, `category`,
            `weight`.
        complements: pairs of types, `bought` and `more_likely`.
        users: `topics` (list of str), `age`, `gender`, `city_tier`, `joined`.
    """
    goes_with = np.zeros((latent["kind"].max() + 1,) * 2, dtype=bool)
    goes_with[complements["bought"], complements["more_likely"]] = True
    match = np.zeros((len(users), len(latent)))
    loves = [set(topics) for topics in users["topics"]]
    about = [dict(pair.split(":") for pair in text.split("|")) for text in latent["topics"]]
    for topic in sorted({topic for weights in about for topic in weights}):
        lover = np.array([topic in topics for topics in loves], dtype=float)
        share = np.array([float(weights.get(topic, 0)) for weights in about])
        match += lover[:, None] * share[None, :]
    of_women, by_age = (latent["category"].map(lambda c, k=k: PROFILE.get(c, (0, 0))[k]).to_numpy() for k in (0, 1))
    woman = (users["gender"] == "female").to_numpy(dtype=float)
    decades = (users["age"].to_numpy(dtype=float) - 40) / 10
    static = BASE + MATCH * np.minimum(match, 1.0) + latent["quality"].to_numpy()[None, :]
    static += woman[:, None] * of_women[None, :] + decades[:, None] * by_age[None, :]
    static -= PRICE * users["city_tier"].to_numpy(dtype=float)[:, None] * latent["price_z"].to_numpy()[None, :]
    return World(
        static,
        latent["season"].to_numpy(),
        latent["kind"].to_numpy(),
        goes_with,
        latent["weight"].to_numpy(),
        items["launched"].to_numpy(),
        users["joined"].to_numpy(),
    )


class History:
    """When each user first bought what a type goes with, and what is of the type: float [users, types], seconds."""

    def __init__(self, world: World):
        shape = (len(world.static), len(world.complements))
        self.world, self.complement, self.same = world, np.full(shape, np.inf), np.full(shape, np.inf)

    def add(self, u: np.ndarray, i: np.ndarray, t: np.ndarray) -> None:
        """Purchases of item i by user u at t, no user twice in one call or in order of time."""
        kind = self.world.kind[i]
        np.minimum.at(self.same, (u, kind), t)
        goes_along = self.world.complements[kind]  # [n, types]
        row, column = np.nonzero(goes_along)
        np.minimum.at(self.complement, (u[row], column), np.asarray(t)[row])

    def before(self, u: np.ndarray, i: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Whether u bought, strictly before t, something that i complements; something of the type of i."""
        kind = self.world.kind[i]
        return self.complement[u, kind] < t, self.same[u, kind] < t


def visits(world: World, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """When each user comes: seconds, int [users, most visits], and how often, int [users]. More in the evening."""
    users = np.arange(len(world.static))
    count = 2 + np.floor(13 * uniform(seed, "visits", users) ** 2).astype(int)
    slot = np.arange(count.max())
    days = (START + DAYS * DAY - world.joined)[:, None] / DAY
    day = np.floor(uniform(seed, "day", users[:, None], slot) * days)
    minute = np.floor(60 * (8 + 15.5 * np.sqrt(uniform(seed, "minute", users[:, None], slot))))
    t = world.joined[:, None] + (day * DAY + minute * 60).astype(np.int64)
    t[slot[None, :] >= count[:, None]] = np.iinfo(np.int64).max
    t.sort(axis=1)
    for v in slot[1:]:  # two visits in one minute: the second comes ten minutes later
        clash = (t[:, v] < t[:, v - 1] + 600) & (v < count)
        t[clash, v] = t[clash, v - 1] + 600
    return t, count


def shown(world: World, seed: int, visit: int, t: np.ndarray, eligible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One list for each user: items by slot, int [users, SLOTS], -1 for none, and the chance of each to be in the list.

    Systematic sampling with probabilities proportional to weight: an item is in the list with *exactly* the stated
    probability. The list is sorted by weight, with noise, so popular things stand on top.

    Source: Madow 1949, On the theory of systematic sampling, II.
    """
    users, items = eligible.shape
    new = world.launched > START
    weight = np.where(eligible, world.weight * np.where(new, PROMOTED, 1.0), 0.0)
    chance = np.round(np.minimum(SLOTS * weight / weight.sum(1, keepdims=True), 1.0), 9)
    order = np.argsort(uniform(seed, f"order {visit}", np.arange(items)), kind="stable")
    start = uniform(seed, f"start {visit}", np.arange(users))[:, None]
    passed = np.floor(np.cumsum(chance[:, order], axis=1) + start)
    inside = np.zeros_like(eligible)
    inside[:, order] = np.diff(passed, axis=1, prepend=0.0) > 0
    noise = uniform(seed, f"noise {visit}", np.arange(users)[:, None], np.arange(items))
    key = np.where(inside, np.round(world.weight * (0.3 + noise), 9), -1.0)
    slots = np.argsort(-key, axis=1, kind="stable")[:, :SLOTS]
    slots[np.take_along_axis(key, slots, 1) < 0] = -1
    return slots, np.take_along_axis(chance, np.maximum(slots, 0), 1)


def seen_share(slot: ArrayLike) -> np.ndarray:
    """The share of visitors who scroll as far as a slot (1, 2, ...)."""
    return np.minimum(1.0, (SLOTS + 1 - np.asarray(slot)) / (SLOTS + 1 - SURE))


def simulate(world: World, seed: int) -> pd.DataFrame:
    """The log: one row for each item that came into view, with positions (not ids) in `user` and `item`.

    Columns user, item, timestamp, bought, list, position (slot, from 1), propensity (chance to be in the list times
    chance to be scrolled to), p (the true probability of the purchase). Sorted by time, ties by user.
    """
    t, count = visits(world, seed)
    users = np.arange(len(t))
    met, history, rows = np.zeros(world.static.shape, dtype=bool), History(world), []
    for visit in range(t.shape[1]):
        here = users[visit < count]
        now = t[here, visit]
        slots, chance = shown(world, seed, visit, now, ~met[here] & (world.launched[None, :] <= now[:, None]))
        depth = SURE + np.floor((SLOTS + 1 - SURE) * uniform(seed, f"depth {visit}", here)).astype(int)
        for slot in range(1, SLOTS + 1):
            look = (depth >= slot) & (slots[:, slot - 1] >= 0)
            u, i, when = here[look], slots[look, slot - 1], now[look] + STEP * slot
            p = world.probability(u, i, when, *history.before(u, i, when))
            bought = uniform(seed, f"buy {visit}", u, np.full(len(u), slot)) < p
            history.add(u[bought], i[bought], when[bought])
            met[u, i] = True
            share = np.round(chance[look, slot - 1] * seen_share(slot), 6)
            rows.append(np.column_stack([u, i, when, bought, u * 100 + visit, np.full(len(u), slot), share, p]))
    columns = ["user", "item", "timestamp", "bought", "list", "position", "propensity", "p"]
    log = pd.DataFrame(np.concatenate(rows), columns=columns).astype(dict.fromkeys(columns[:6], "int64"))
    log = log.sort_values(["timestamp", "user"], kind="stable", ignore_index=True)
    log["list"] = pd.factorize(log["list"])[0] + 1
    return log
