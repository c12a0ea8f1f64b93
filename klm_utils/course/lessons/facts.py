"""What notebook 07 asks of facts: which of them moves a score, and its drawings with the reader's numbers in them."""

import re
from collections.abc import Mapping, Sequence
from textwrap import shorten

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from klm_utils.data.films import RELATIONS
from klm_utils.data.schema import RecDataset, title_text
from klm_utils.data.splits import Split
from klm_utils.evaluation.experiment import Runs
from klm_utils.knowledge import linking
from klm_utils.knowledge.vectors import facts_in
from klm_utils.models.recommender import KLMRecommender
from klm_utils.plots import COLOURS

INK, PALE = "#333333", "#EEEEEE"
PEOPLE = ("directors", "writers", "cast")


def drop_each(model: KLMRecommender, films: pd.DataFrame, facts: Sequence[str], users: Sequence) -> pd.DataFrame:
    """How much each fact of each film brings to its score for each user: the score with all, minus that without it.

    Args:
        model: built with `facts=`.
        films: rows of `ds.items`, indexed by their ids.
        facts: its columns of facts.
        users: ids.

    Returns:
        log-odds, [users, facts of all films]; columns (item id, fact), such as (7, "directors=Woody Allen").
    """
    copies, names = [], []
    for (item, film), own in zip(films.iterrows(), facts_in(films, facts), strict=True):
        for fact in (None, *own):
            copy = film.copy()
            if fact:
                column, name = fact.split("=", 1)
                copy[column] = [other for other in film[column] if other != name]
            copies.append(copy)
            names.append((item, fact))
    ids = [int(max(model.items.index)) + n for n in range(1, len(copies) + 1)]
    wide = model.with_items(pd.DataFrame(copies).assign(item_id=ids).astype({"year": "Int64"}))
    scores = wide.scores(np.repeat(users, len(ids)), np.tile(ids, len(users))).reshape(len(users), -1)
    found = pd.DataFrame(scores, index=list(users), columns=pd.MultiIndex.from_tuples(names, names=["item", "fact"]))
    whole = found.columns.get_level_values("fact").isna()
    places = np.cumsum(whole)[~whole] - 1  # the whole film of each copy
    return found.loc[:, whole].to_numpy()[:, places] - found.loc[:, ~whole]


def paths(liked: Sequence, film, holders: Mapping[str, Sequence]) -> dict[str, list]:
    """The ways from what a user has liked to a film: each fact of the film that a liked item holds too, and the items.

    liked: item ids. film: an item id. holders: `holders(ds)`.
    """
    mine, shared = {*liked} - {film}, {}
    for fact, items in holders.items():
        if film in items and mine.intersection(items):
            shared[fact] = [item for item in liked if item in items and item != film]
    return shared


def path_check(falls: pd.DataFrame, liked: Mapping, holders: Mapping[str, Sequence], draws: int = 1000) -> pd.DataFrame:
    """Does the score need a fact more if a path leads over it? The same films and facts, users with and without a path.

    Args:
        falls: of `drop_each`. liked: user id -> item ids. holders: `holders(ds)`. draws: bootstrap draws of films.

    Returns:
        by relation: the mean fall for users with a path ("a path"), for users without one ("no path"), the 95 %
        interval of the difference for other films ("low", "high"), and how many facts have users of both kinds.
    """
    mine, rows = [{*liked.get(user, ())} for user in falls.index], []
    for item, fact in falls.columns:
        others = {*holders[fact]} - {item}
        path = np.array([not own.isdisjoint(others) for own in mine])
        if 0 < path.sum() < len(path):
            fall = falls[item, fact].to_numpy()
            rows.append((said(fact).split()[0], item, fall[path].mean(), fall[~path].mean()))
    table = pd.DataFrame(rows, columns=["relation", "item", "a path", "no path"])
    weights = np.random.default_rng(0).multinomial(n := falls.columns.get_level_values(0).nunique(), [1 / n] * n, draws)
    place, found = {item: at for at, item in enumerate(falls.columns.unique(0))}, {}
    for relation, own in table.groupby("relation"):
        more, weight = own["a path"] - own["no path"], weights[:, own["item"].map(place)]
        there = weight.sum(1) > 0
        ends = np.quantile((weight[there] @ more) / weight[there].sum(1), (0.025, 0.975))
        found[relation] = [own["a path"].mean(), own["no path"].mean(), *ends, len(own)]
    return pd.DataFrame.from_dict(found, "index", columns=["a path", "no path", "low", "high", "facts"])


def fans(model: KLMRecommender, film: Mapping, split: Split, n: int = 3) -> pd.DataFrame:
    """Whose score do the people of a film lift most? Beside each user: how much of what they liked is by these people.

    The people are its directors, writers and cast; the lift is the score minus that of the film without them. Where
    train has none of them, no score is lifted, and there is only the row of all users.

    Args:
        model: built with `facts=`.
        film: column -> value, as the film that a reader typed.
        split: whose train says what users liked: 4 stars or more.
        n: users.

    Returns:
        a row per user and one of all users: the share of their liked films that is by these people, and some titles.
    """
    ds = split.dataset
    forms = pd.DataFrame([{**film}, {**film, **{column: [] for column in PEOPLE}}])
    whole, bare = (int(max(model.items.index)) + at for at in (1, 2))
    wide, users = model.with_items(forms.assign(item_id=[whole, bare])), ds.users.index.tolist()
    lift = wide.scores(users, [whole] * len(users)) - wide.scores(users, [bare] * len(users))
    held, train = holders(ds), split.train
    theirs = {item for column in PEOPLE for name in film[column] for item in held.get(f"{column}={name}", ())}
    liked = train[train["rating"] >= 4].groupby("user_id")["item_id"].agg(list)
    share, rows = liked.map(lambda items: float(np.mean([item in theirs for item in items]))), {}
    most = pd.Series(lift, users).reindex(liked.index).nlargest(n if np.ptp(lift) else 0)
    for user in most.index:  # nobody, where train has none of the people
        titles = [title_text(ds.items.at[item, "title"]) for item in liked[user] if item in theirs]
        rows[f"user {user}"] = [share[user], shorten(", ".join(titles), 60, placeholder=" ...")]
    rows["all users, mean"] = [share.mean(), ""]
    return pd.DataFrame.from_dict(rows, "index", columns=["by your people", "such as"])


def who_is_known(film: Mapping, split: Split) -> str:
    """Which people of a film that a reader typed are people of a film of train, in the same column."""
    there = {fact for facts in facts_in(_of_train(split), PEOPLE) for fact in facts}
    facts = [f"{column}={name}" for column in PEOPLE for name in film[column]]
    known, unknown = ([said(fact) for fact in facts if (fact in there) == yes] for yes in (True, False))
    end = "" if known else "\nNone of them is in train: write names in English, as Wikidata does."
    return f"known: {', '.join(known) or 'nobody'}; unknown: {', '.join(unknown) or 'nobody'}{end}"


def _of_train(split: Split) -> pd.DataFrame:
    items = split.dataset.items
    return items[items.index.isin(split.train["item_id"])]


def agree(one: pd.DataFrame, two: pd.DataFrame) -> tuple[float, float]:
    """Two tables of `drop_each`: in what share of pairs of user and film the same fact is on top, and how the falls
    correlate."""
    films = one.columns.get_level_values("item")
    same = [one[item].to_numpy().argmax(1) == two[item].to_numpy().argmax(1) for item in films.unique()]
    return float(np.mean(same)), float(np.corrcoef(one.to_numpy().ravel(), two.to_numpy().ravel())[0, 1])


def rule_of(pair: str) -> str:
    """Which rule links the two films of a pair, or "no link".

    >>> rule_of("U.S. Marshalls (1998), U.S. Marshals (1998)")
    'other spelling'
    """
    ours, theirs = (
        pd.DataFrame([{"title": title, "year": int(year)}])
        for title, year in re.findall(r"(?:^|, )(.+?) \((\d{4})\)", pair)
    )
    return linking.link(ours, theirs)["rule"].iloc[0] or "no link"


def differences(runs: Runs, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """The differences of pairs of variants (a, b): a minus b, with both intervals as people write them."""
    rows = []
    for (a, b), (value, *ends) in zip(pairs, runs.gains(*pairs).values(), strict=True):
        user, item = (f"[{low:+.3f}, {high:+.3f}]" for low, high in (ends[:2], ends[2:]))
        rows.append([a, b, runs.values()[a].mean(), f"{value:+.3f}", user, item])
    return pd.DataFrame(rows, columns=["row", "minus", "nDCG@10", "difference", "user interval", "item interval"])


def said(fact: str) -> str:
    """A fact as people say it.

    >>> said("cast=Sigourney Weaver")
    'actor Sigourney Weaver'
    """
    column, name = fact.split("=", 1)
    return f"{RELATIONS.get(column, column)} {name}"


def known_of(title: str, facts: Mapping[str, Sequence[str]], ax: Axes | None = None) -> Axes:
    """A film in the middle, its facts around it, and beside each the other films that share it."""
    ax = ax or plt.subplots(figsize=(8.4, 0.5 + 0.52 * len(facts)), layout="constrained")[1]
    middle = -(len(facts) + 1) / 2
    for row, (fact, others) in enumerate(facts.items(), start=1):
        ax.plot([1.9, 2.6], [middle, -row], color="#AAAAAA", linewidth=1, zorder=0)
        _box(ax, 2.6, -row, 2.9, fact, COLOURS[5])
        if others:
            ax.plot([5.5, 5.9], [-row, -row], color="#AAAAAA", linewidth=1, zorder=0)
        shown = ", ".join(others[:2]) + (f" and {len(others) - 2} more" if len(others) > 2 else "")
        ax.text(6.0, -row, shown or "no other film", va="center", fontsize=9, parse_math=False, color=INK)
    _box(ax, 0.0, middle, 1.9, title, COLOURS[4])
    ax.set(xlim=(-0.1, 10.2), ylim=(-len(facts) - 0.6, -0.4))
    ax.axis("off")
    return ax


def ways(user: str, film: str, shared: Mapping[str, Sequence[str]], falls: Mapping[str, float]) -> Axes:
    """Paths from a user over liked films and their facts to a film, as thick as the score needs the fact; orange: it
    would rise without.

    Args:
        shared: fact -> titles of liked films that hold it; one or two titles of each are drawn.
        falls: fact -> how far the score of the film falls without it, log-odds.
    """
    ax = plt.subplots(figsize=(8.4, 0.6 + 0.62 * len(shared)), layout="constrained")[1]
    middle = -(len(shared) + 1) / 2
    for row, (fact, titles) in enumerate(shared.items(), start=1):
        width, colour = 0.6 + 12 * abs(falls[fact]), COLOURS[0] if falls[fact] > 0 else COLOURS[1]
        for x, y in (([1.3, 1.7], [middle, -row]), ([4.5, 4.9], [-row, -row]), ([7.3, 7.9, 8.4], [-row, -row, middle])):
            ax.plot(x, y, color=colour, linewidth=width, zorder=0, solid_capstyle="round")
        short = [shorten(title, 26, placeholder=" ...") for title in titles]
        more = f" and {len(short) - 1} more" if len(short) > 2 else f",\n{short[1]}" if len(short) > 1 else ""
        _box(ax, 1.7, -row, 2.8, short[0] + more, "#CCCCCC")
        _box(ax, 4.9, -row, 2.4, said(fact), COLOURS[5])
        ax.text(7.6, -row + 0.1, f"{falls[fact]:+.2f}", fontsize=9, color=INK, va="bottom", ha="center")
    _box(ax, 0.1, middle, 1.2, user, COLOURS[2])
    _box(ax, 8.4, middle, 1.6, film, COLOURS[4])
    ax.set(xlim=(0, 10.1), ylim=(-len(shared) - 0.6, -0.4))
    ax.axis("off")
    return ax


def _box(ax: Axes, left: float, height: float, width: float, text: str, colour: str) -> None:
    style = "round,pad=0.02,rounding_size=0.08"
    ax.add_patch(FancyBboxPatch((left, height - 0.36), width, 0.72, boxstyle=style, color=colour, alpha=0.45))
    ax.text(left + width / 2, height, text, ha="center", va="center", fontsize=9, parse_math=False, color=INK)


def examples(
    found: pd.DataFrame, ours: pd.DataFrame, theirs: pd.DataFrame, ratings: pd.Series, room: int = 70
) -> dict[str, str]:
    """Of each rule a film that the two tables write differently: the one with the most ratings that fits the room.

    found: of `linking.link(ours, theirs)`. ratings: item -> how many. room: characters.
    """
    most: dict[str, str] = {}
    for item in ratings.sort_values(ascending=False, kind="stable").index.intersection(found.index, sort=False):
        if pd.notna(entity := found.at[item, "entity"]):
            one, two = ours.loc[item], theirs.loc[entity]
            pair = f"{one['title']} ({one['year']}) = {two['title']} ({two['year']})"
            if one["title"] != two["title"] and len(pair) <= room:
                most.setdefault(found.at[item, "rule"], pair)
    return most


def ladder(counts: Mapping[str, int], total: int, pairs: Mapping[str, str], ax: Axes | None = None) -> Axes:
    """How many films each rule links, one after the other, and a pair that it links; what is not linked is white.

    counts: rule -> films. pairs: rule -> an example such as "Net, The = The Net".
    """
    ax = ax or plt.subplots(figsize=(8.6, 0.7 + 0.5 * len(counts)), layout="constrained")[1]
    before = 0
    for row, (rule, count) in enumerate(counts.items()):
        ax.barh(row, total, color=PALE, height=0.8)
        ax.barh(row, before, color="#BBBBBB", height=0.8)
        ax.barh(row, count, left=before, color=COLOURS[0], height=0.8)
        before += count
        ax.text(total * 1.01, row, f"+{count}: {before / total:.1%}", va="center", fontsize=9)
        colour = INK if row else "white"  # the first bar is blue
        ax.text(total * 0.01, row, pairs.get(rule, ""), va="center", fontsize=9, color=colour, parse_math=False)
    ax.set_yticks(range(len(counts)), list(counts))
    ax.set(ylim=(len(counts) - 0.5, -0.5), xlim=(0, total * 1.16), xlabel="films of MovieLens (blue: new by this rule)")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def timeline(events: Mapping[str, float], now: float, ax: Axes | None = None) -> Axes:
    """Events by year (1998.25: the end of March); what comes after `now` is orange: nobody can know it on that day."""
    ax = ax or plt.subplots(figsize=(8.4, 0.9 + 0.36 * len(events)), layout="constrained")[1]
    for row, year in enumerate(events.values()):
        ax.plot([min(events.values()), year], [row, row], color=PALE, linewidth=5, solid_capstyle="butt", zorder=0)
        ax.plot(year, row, "o", color=COLOURS[1] if year > now else COLOURS[0], markersize=9)
    ax.axvline(now, color=INK, linestyle=":", linewidth=1.2)
    ax.text(now, -0.75, "the last rating; orange: later", ha="center", va="bottom", fontsize=9)
    ax.set_yticks(range(len(events)), [event.replace("$", r"\$") for event in events])
    ticks = np.arange(np.floor(min(events.values()) * 4) / 4, max(events.values()) + 0.2, 0.25)
    months = [f"{('Jan', 'Apr', 'Jul', 'Oct')[round(tick % 1 * 4) % 4]} {int(tick)}" for tick in ticks]
    ax.set_xticks(ticks, months)
    ax.set_ylim(len(events) - 0.5, -0.7)
    ax.spines[["top", "right", "left"]].set_visible(False)
    return ax


def bars(values: Mapping[str, float], label: str, ax: Axes | None = None) -> Axes:
    """Horizontal bars, the first on top; orange below zero."""
    ax = ax or plt.subplots(figsize=(7.2, 0.8 + 0.32 * len(values)), layout="constrained")[1]
    colours = [COLOURS[0] if value >= 0 else COLOURS[1] for value in values.values()]
    drawn = ax.barh(range(len(values)), list(values.values()), color=colours, height=0.7)
    ax.bar_label(drawn, [f"{value:,.4g}" for value in values.values()], padding=3, fontsize=9)
    ax.set_yticks(range(len(values)), [name.replace("$", r"\$") for name in values])
    ax.set(ylim=(len(values) - 0.5, -0.5), xlabel=label)
    ax.margins(x=0.12)
    ax.axvline(0, color=INK, linewidth=0.8)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def moved(before: Sequence[str], after: Sequence[str], labels: tuple[str, str], ax: Axes | None = None) -> Axes:
    """Two lists side by side, a line between the places of a film that stands in both; orange: it has risen."""
    ax = ax or plt.subplots(figsize=(8.4, 0.7 + 0.34 * len(before)), layout="constrained")[1]
    for side, titles in enumerate((before, after)):
        for place, title in enumerate(titles, start=1):
            there = title in (after if side == 0 else before)
            text, x = f"{place}  {title}" if side else f"{title}  {place}", 0.62 * side
            colour = INK if there else (COLOURS[0] if side else "#666666")
            ax.text(
                x, -place, text, ha="left" if side else "right", va="center", fontsize=9, color=colour, parse_math=False
            )
        ax.text(0.62 * side, -0.1, labels[side], ha="left" if side else "right", fontsize=10, weight="bold")
    for place, title in enumerate(before, start=1):
        if title in after:
            to = list(after).index(title) + 1
            ax.plot([0.02, 0.6], [-place, -to], color=COLOURS[1] if to < place else "#BBBBBB", linewidth=1.6)
    ax.set(xlim=(-0.75, 1.4), ylim=(-len(before) - 0.6, 0.5))
    ax.axis("off")
    return ax


def curve(runs: Runs, points: Mapping[float, str], levels: Mapping[str, str], ax: Axes | None = None) -> Axes:
    """What is left of a gain over the share of spoilt links: dots of folds, means, intervals (thick: other users).

    Args:
        points: share -> variant.
        levels: variant -> label, the one that is taken away and another one: dashed lines.
    """
    ax = ax or plt.subplots(figsize=(7.2, 3.8), layout="constrained")[1]
    (base, other), heights = levels, runs.values()
    minus = heights.sub(heights[base], axis=0)
    for share, variant in points.items():
        ax.plot([share - 0.015] * len(minus), minus[variant], "o", color="#999999", alpha=0.6, markersize=4)
        gain = runs.gain(variant, base)
        sure = gain.others[0] > 0 or gain.others[1] < 0
        for pair, width in (((gain.low, gain.high), 4.0), (gain.others, 1.4)):
            ax.plot([share] * 2, pair, color=COLOURS[0] if sure else "#777777", linewidth=width, solid_capstyle="butt")
    ax.plot(list(points), [minus[name].mean() for name in points.values()], "-o", color=COLOURS[0], zorder=0)
    for variant, colour in ((base, INK), (other, COLOURS[1])):
        ax.axhline(minus[variant].mean(), color=colour, linestyle="--", linewidth=1.0, zorder=0)
        ax.text(1.03, minus[variant].mean() + 0.002, levels[variant], va="bottom", fontsize=9, color=colour)
    ax.set(
        xlabel="share of the films whose facts are another film's",
        ylabel=f"nDCG@10 minus {levels[base]}",
        xlim=(-0.05, 1.25),
    )
    ax.set_xticks(list(points), [f"{share:.0%}" for share in points])
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def holders(ds: RecDataset) -> dict[str, list]:
    """Which items hold each fact: {"cast=Al Pacino": item ids}."""
    found: dict[str, list] = {}
    for item, own in zip(ds.items.index, facts_in(ds.items, ds.facts), strict=True):
        for fact in own:
            found.setdefault(fact, []).append(item)
    return found
