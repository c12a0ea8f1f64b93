"""Facts of films: 17,472 of the years 1940 to 2014, as Wikidata had them on 18 October 2026.

Source: Wikidata, by way of `movies.db` in the wheel bokeh-sampledata 2026.1 (`assets.py`), which is CC0-1.0.
"""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pandas as pd

from klm_utils.data.rules import places
from klm_utils.data.shipped import shipped
from klm_utils.errors import DataError, check_flag, check_kind

FACTS = ("directors", "writers", "cast", "countries", "languages")
RELATIONS = dict(zip(FACTS, ("director", "writer", "actor", "country", "language"), strict=True))
# From when on a column may be used. The cast is in the order of the alphabet: who was billed first is not known.
KNOWN = dict.fromkeys(("title", "year", "genres", *FACTS), "when the film comes out")
KNOWN |= dict.fromkeys(("oscars", "critics", "box_office"), "months or years later")
_LISTS = {"genres": "Genre", "directors": "Director", "writers": "Writer", "cast": "Cast"}
_LISTS |= {"countries": "Country", "languages": "Language"}
_LATER = {"oscars": "omdb.Oscars", "critics": "tomatoes.Meter", "box_office": "tomatoes.BoxOffice"}
_SUFFIXES = {"Jr.", "Sr.", "II", "III", "IV"}  # "Robert Downey, Jr." is one name


def load(later: bool = False, entities: Iterable[str] | None = None) -> pd.DataFrame:
    """All films: index `entity` (Wikidata's, "Q44578"); `title`, `year`, `genres` and the columns of `FACTS`.

    Each of these but title and year is a list of str, empty where nothing is known.

    Args:
        later: also `oscars` (won), `critics` (percentage of good reviews) and `box_office` (dollars), which nobody knew
            when the film came out: `KNOWN` says of each column from when on it may be used.
        entities: of these films only.

    Raises:
        AssetError: the file is not in the cache and cannot be fetched.
    """
    from klm_utils.data.assets import fetch

    return read(fetch("films") / "movies.db", later, entities)


def read(path: Path, later: bool = False, entities: Iterable[str] | None = None) -> pd.DataFrame:
    """The same from a file of that kind.

    Raises:
        DataError: no such file, no SQLite database, a table or a column that is missing, a film twice.
    """
    later = check_flag("later", later)
    columns = ["omdb.ID", "omdb.Title", "omdb.Year", *(f"omdb.{name}" for name in _LISTS.values())]
    names = ["entity", "title", "year", *_LISTS]
    if later:
        columns, names = [*columns, *_LATER.values()], [*names, *_LATER]
    query = f"SELECT {', '.join(columns)} FROM omdb JOIN tomatoes ON omdb.ID = tomatoes.ID"
    wanted = [] if entities is None else [int(str(entity).removeprefix("Q")) for entity in entities]
    query += "" if entities is None else f" WHERE omdb.ID IN ({', '.join('?' * len(wanted))})"
    expected, remedy = "movies.db of bokeh-sampledata 2026.1", "klm_utils.data.films.load() fetches and checks it"
    if not Path(path).is_file():
        raise DataError("the films are missing", str(path), "no such file", expected, remedy)
    try:
        with closing(sqlite3.connect(f"{Path(path).resolve().as_uri()}?mode=ro", uri=True)) as base:
            rows = base.execute(f"{query} ORDER BY omdb.ID", wanted).fetchall()
    except sqlite3.Error as fault:
        raise DataError("the films cannot be read", str(path), str(fault), expected, remedy) from fault
    frame = pd.DataFrame(rows, columns=names, dtype=object).astype({"entity": "int64", "title": "str", "year": "int64"})
    if twice := frame["entity"][frame["entity"].duplicated()].tolist():
        raise DataError("a film is there twice", f"{path}, column ID", twice[0], "each once", remedy)
    frame["entity"] = "Q" + frame["entity"].astype(str)
    for name in _LISTS:
        frame[name] = [names_in(value) for value in frame[name]]
    numbers = dict.fromkeys(_LATER, "float64") if later else {}
    return frame.astype(numbers).set_index("entity")


def names_in(text: str | None) -> list[str]:
    """The names in a text with commas, each once, "Jr." with the name before it.

    >>> names_in("Robert Downey, Jr., Halle Berry")
    ['Robert Downey, Jr.', 'Halle Berry']
    """
    names: list[str] = []
    for name in filter(None, (part.strip() for part in (text or "").split(","))):
        if name in _SUFFIXES and names:
            names[-1] += f", {name}"
        else:
            names.append(name)
    return list(dict.fromkeys(names))


def links() -> pd.Series:
    """Which film of Wikidata each film of MovieLens-100K is, "Q44578" by item_id; one that is not there has none.

    `klm_utils.knowledge.linking` found them; notebook 07 shows how, and `data/films/README.md` how many are right.
    """
    path = shipped("films/links.csv")
    return pd.read_csv(path, index_col="item_id", dtype={"item_id": "int64", "entity": "str"})["entity"]


def triples(films: pd.DataFrame) -> pd.DataFrame:
    """The facts as a graph: `head` (the film), `relation` and `tail` (a name), film after film.

    Raises:
        ConfigError: no table of films.
    """
    check_kind("triples(films)", films, pd.DataFrame, "a table like films.load()")
    rows = [
        (entity, RELATIONS[column], tail)
        for entity, *lists in films[list(FACTS)].itertuples(name=None)
        for column, tails in zip(FACTS, lists, strict=True)
        for tail in tails
    ]
    return pd.DataFrame(rows, columns=["head", "relation", "tail"])


def facts_of(entities: pd.Series, films: pd.DataFrame) -> pd.DataFrame:
    """The columns of `FACTS` for each of these films, [] where the entity is missing; under the index of `entities`."""
    at = places(films.index, entities.fillna(""))
    return pd.DataFrame(
        {name: [films[name].iloc[i] if i >= 0 else [] for i in at] for name in FACTS}, index=entities.index
    )
