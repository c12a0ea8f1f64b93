"""What notebook 00 needs beside its few lines of model: who rated what, directions of texts, typed titles, lists."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

import numpy as np
import pandas as pd
import torch

from klm_utils.data.schema import RecDataset, title_text
from klm_utils.data.splits import Split
from klm_utils.evaluation.experiment import Runs

CLOSE = 0.6  # how alike two spellings must be, of 1, for "did you mean"


def titles(ds: RecDataset) -> list[str]:
    """The titles as people write them ("The Godfather"), in the order of `ds.items`."""
    return [title_text(title) for title in ds.items["title"]]


def watched(rows: pd.DataFrame, ds: RecDataset) -> torch.Tensor:
    """1 where one of these rows says that the user has rated the film, else 0: float [users, films]."""
    table = torch.zeros(len(ds.users), len(ds.items))
    table[ds.users.index.get_indexer(rows["user_id"]), ds.items.index.get_indexer(rows["item_id"])] = 1
    return table


def weights(*shape: int, size: float = 0.0, seed: int = 0) -> torch.Tensor:
    """Numbers to be trained, float [shape]: zeros, or random ones of this size."""
    drawn = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return (size * drawn).requires_grad_()


def start(ds: RecDataset, width: int, seed: int = 0) -> list[torch.Tensor]:
    """Untrained: biases [users, 1] and [films], all zero, and small random vectors [users, width], [films, width]."""
    users, films = len(ds.users), len(ds.items)
    vectors = [weights(n, width, size=0.1, seed=seed + at) for at, n in enumerate((users, films))]
    return [weights(users, 1), weights(films), *vectors]


def and_zero(table: torch.Tensor) -> torch.Tensor:
    """The table with one more row, of zeros: a film without numbers of its own."""
    return torch.cat([table, torch.zeros_like(table[:1])])


class Directions:
    """Text vectors on the few directions in which the films of train differ most (principal components).

    Args:
        vectors: of the films of train, float [films, dim].
        width: how many directions.
    """

    def __init__(self, vectors: np.ndarray, width: int):
        self.mean = vectors.mean(0)
        self.basis = np.linalg.svd(vectors - self.mean, full_matrices=False)[2][:width].T
        self.length = np.linalg.norm((vectors - self.mean) @ self.basis, axis=1).mean()

    def __call__(self, vectors: np.ndarray) -> torch.Tensor:
        """Float [n, width], of mean length 1 over the films of train."""
        return torch.tensor((vectors - self.mean) @ self.basis / self.length, dtype=torch.float32)


def top(scores: torch.Tensor, without: torch.Tensor, names: Sequence[str], k: int) -> list[int]:
    """Positions of the k highest scores, float [films], but for those that `without` (bool [films]) leaves out.

    Some films stand in the catalogue twice: of several of one name only the first one found is taken.
    """
    found: dict[str, int] = {}
    for at in scores.argsort(descending=True, stable=True).tolist():
        if len(found) < k and not without[at]:
            found.setdefault(names[at], at)
    return list(found.values())


def places(typed: Sequence[str], names: Sequence[str], count: Sequence[int]) -> list[int]:
    """Positions of the titles that somebody typed, in any case; of several of one name the one that most have rated.

    For a title that no film has a line is printed, with the nearest ones.
    """
    small = [name.casefold() for name in names]
    found = []
    for title in typed:
        same = [at for at, name in enumerate(small) if name == title.strip().casefold()]
        if same:
            found.append(max(same, key=lambda at: count[at]))
            continue
        near = get_close_matches(title.strip().casefold(), small, n=2, cutoff=CLOSE)
        near += [name for name in small if title.strip() and title.strip().casefold() in name and name not in near][:2]
        meant = " or ".join(names[small.index(name)] for name in near)
        print(f"no film is called {title!r}" + (f": did you mean {meant}?" if meant else " (the films end in 1998)"))
    return list(dict.fromkeys(found))


def beside(runs: Runs, names: Mapping[str, str], base: str) -> tuple[pd.DataFrame, dict[str, list]]:
    """What `plots.dots` takes: for each variant of `names` its difference to `base` by fold, and its `gains`."""
    values = runs.values()
    differences = pd.DataFrame({label: values[name] - values[base] for name, label in names.items()})
    gains = runs.gains(*[(name, base) for name in names])
    return differences.droplevel("seed"), {label: gains[f"{name} minus {base}"] for name, label in names.items()}


CORNER = ("Toy Story", "The Godfather", "Star Trek: Generations", "Pulp Fiction", "Contact", "Santa with Muscles")


def corner(split: Split, names: Sequence[str], new: int, users: Sequence[int] = (1, 45, 180, 279, 405, 781)) -> tuple:
    """What `tour_pictures.gaps` takes: a corner of the ratings of train, with the film `new` in the fourth column.

    Returns:
        float [users, 7] with nan for a gap, the users as texts, the seven titles.
    """
    films = [names.index(title) for title in CORNER]
    films.insert(3, new)
    ids = split.dataset.items.index[films]
    table = split.train.pivot(index="user_id", columns="item_id", values="rating")
    ratings = table.reindex(index=users, columns=ids).to_numpy(dtype=float)
    return ratings, [f"user {user}" for user in users], [names[film] for film in films]


def noted(count: int) -> str:
    """How many ratings a film has, in words."""
    return "new" if count == 0 else f"{count} rating" + "s" * (count > 1)


def counts(split: Split) -> list[int]:
    """How many ratings of train each film has, in the order of `ds.items`."""
    return split.train["item_id"].value_counts().reindex(split.dataset.items.index, fill_value=0).tolist()


def best_rated(split: Split, k: int) -> dict[str, list[tuple[str, str]]]:
    """What `tour_pictures.lists` takes: the films of train by mean rating, and by number of ratings."""
    rated = split.train.groupby("item_id")["rating"].agg(["mean", "size"])
    rated["title"] = pd.Series(titles(split.dataset), split.dataset.items.index)
    found = {}
    for name, by in {"by mean rating": ["mean", "size"], "by number of ratings": ["size"]}.items():
        some = rated.sort_values(by, ascending=False, kind="stable").head(k)
        rows = zip(some["title"], some["mean"], some["size"], strict=True)
        found[name] = [(title, f"mean {mean:.1f}, {noted(size)}") for title, mean, size in rows]
    return found


def for_two(
    split: Split, first: torch.Tensor, second: torch.Tensor, users: tuple[int, int], k: int = 8
) -> dict[str, list[tuple[str, str]]]:
    """What `tour_pictures.lists` takes: the list of the first scores, the same for all, and two users' of the second.

    Args:
        first, second: scores, float [users, films].
    """
    ds = split.dataset
    names, count, met = titles(ds), counts(split), watched(split.train, ds) > 0
    new = ~met.any(0)
    found = {"first run: everybody": top(first[0], new, names, k)}
    for user in users:
        at = ds.users.index.get_loc(user)
        found[f"second run: user {user}"] = top(second[at], new | met[at], names, k)
    return {heading: [(names[at], str(count[at])) for at in places] for heading, places in found.items()}


def chosen(scores: torch.Tensor, met: torch.Tensor, k: int = 20, seed: int = 0) -> dict[str, list[int]]:
    """Positions of k users, chosen in three ways: drawn, by how much they watch, by their scores, float [users]."""
    drawn = torch.randperm(len(scores), generator=torch.Generator().manual_seed(seed))[:k]
    ways = {"any users": drawn, "who watch most": met.sum(1).topk(k).indices, "highest score": scores.topk(k).indices}
    return {how: users.tolist() for how, users in ways.items()}


def named(parts: Sequence[torch.Tensor]) -> dict[str, float]:
    """The four parts of the score of a new film as numbers, with the names that the waterfall gives them."""
    names = ("c: any cell", "user's bias: watches much", "text, for everybody", "text, for this user")
    return {name: float(part.detach()) for name, part in zip(names, parts, strict=True)}


def near_and_rated(split: Split, user: int, cosine: np.ndarray, k: int = 3) -> str:
    """A user in words: of the films that they have rated in train those k whose texts are nearest, float [films]."""
    ds = split.dataset
    rated = split.train.loc[split.train["user_id"] == ds.users.index[user], "item_id"]
    places = ds.items.index.get_indexer(rated)
    best = places[np.argsort(-cosine[places], kind="stable")[:k]]
    names = titles(ds)
    return f"user {ds.users.index[user]}, who has rated\n" + ", ".join(names[at] for at in best)


def hits(scores: torch.Tensor, met: torch.Tensor, really: torch.Tensor, names: Sequence[str], least: int) -> str:
    """In words: of 20 chosen users, how many did watch a hidden film; the mean over those that so many have watched,
    and the film for which the scores do worst against the users who watch most."""
    films = torch.where(really.sum(0) >= least)[0].tolist()
    ours, busy = np.zeros(len(films), dtype=int), np.zeros(len(films), dtype=int)
    for row, film in enumerate(films):
        ways = chosen(scores[:, film], met)
        ours[row], busy[row] = (int(really[ways[how], film].sum()) for how in ("highest score", "who watch most"))
    worst = int((ours - busy).argmin())
    mean = f"mean of {len(films)} hidden films with {least} viewers or more"
    return (
        f"{mean}: highest score {ours.mean():.1f} of 20, who watch most {busy.mean():.1f}\n"
        f"the worst for the score is {names[films[worst]]}: {ours[worst]} and {busy[worst]}"
    )


def yours(
    scores: torch.Tensor, known: torch.Tensor, liked: Sequence[int], split: Split, k: int = 8
) -> dict[str, list[tuple[str, str]]]:
    """What `tour_pictures.lists` takes: for somebody's films those that others have rated and those that are new, and
    the new ones for a sentence.

    Args:
        scores: float [2, films], of the films and of the sentence.
        known: bool [films], rated in train.
        liked: positions of the films that were typed.
    """
    names, count = titles(split.dataset), counts(split)
    typed = torch.zeros_like(known)
    typed[list(liked)] = True
    found = {
        "your films: known": top(scores[0], typed | ~known, names, k),
        "your films: unrated": top(scores[0], typed | known, names, k),
        "your sentence: unrated": top(scores[1], known, names, k),
    }
    return {heading: [(names[at], str(count[at] or "new")) for at in places] for heading, places in found.items()}


def way(text: str, vector: np.ndarray) -> dict[str, str]:
    """What `tour_pictures.pipeline` takes: what becomes of a film at each of the five steps."""
    numbers = ", ".join(f"{value:.2f}" for value in vector[:2])
    title, _, rest = text.partition(" (")
    return {
        "domain\ndata": f"{title}\n({rest}".replace(": ", ":\n").replace("). ", ")\n").replace(", ", ",\n"),
        "embedding": f"{len(vector)} numbers:\n{numbers}, ...",
        "fusion": "a score s\nfor each user",
        "loss and\ngradient": "how wrong is s?\nwhich way is\nit better?",
        "training": "small steps\nthat way",
        "list": "who will\nwatch it?",
    }
