"""Facts of films: what the file says, what it must not say yet, and files that are none."""

import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pandas as pd
import pytest

import klm_utils as klm
from klm_utils.data import assets, films
from klm_utils.data.features import item_features


@pytest.fixture(scope="module")
def table():
    return films.load()


@pytest.fixture
def base(tmp_path):
    """A copy of the file, to be spoilt."""
    return shutil.copy(assets.fetch("films") / "movies.db", tmp_path)


def change(base, *statements):
    with closing(sqlite3.connect(base)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def test_the_table(table):
    assert len(table) == 17_472 and table["year"].between(1940, 2014).all()
    assert table.loc["Q44578", ["title", "year", "directors"]].tolist() == ["Titanic", 1997, ["James Cameron"]]
    assert "Leonardo DiCaprio" in table.loc["Q44578", "cast"]
    cast = table["cast"].map(len)
    assert cast.max() > 80 and table["cast"].map(set).map(len).equals(cast), "nobody twice"


def test_names_with_commas_accents_and_quotes(table):
    assert films.names_in("Robert Downey, Jr., Halle Berry, Jr.") == ["Robert Downey, Jr.", "Halle Berry, Jr."]
    assert films.names_in(None) == films.names_in("") == films.names_in(" , ") == []
    assert films.names_in("Jr., A, A") == ["Jr.", "A"]
    names = {name for column in films.FACTS for names in table[column] for name in names}
    assert {"Krzysztof Kieślowski", "Catherine O'Hara"} <= names and not names & {"Jr.", "Sr.", ""}
    assert not any("," in name and not name.endswith(("Jr.", "Sr.", "I", "V")) for name in names)


def test_what_came_later_is_there_only_if_asked_for(table):
    later = films.load(later=True, entities=["Q44578"])
    assert set(later) - set(table) == {"oscars", "critics", "box_office"}
    assert later.loc["Q44578", "oscars"] == 8, "of 11: the table is not complete"
    assert later.loc["Q44578", "box_office"] > 1e9 and later.loc["Q44578", "critics"] == 88
    assert set(films.KNOWN) == set(later) and {films.KNOWN[name] for name in table} == {"when the film comes out"}


@pytest.mark.parametrize(
    ("statements", "what"),
    [
        (["DROP TABLE tomatoes"], "no such table: tomatoes"),
        (["ALTER TABLE omdb RENAME COLUMN Director TO Directed"], "no such column: omdb.Director"),
        (["INSERT INTO omdb SELECT * FROM omdb WHERE ID = 44578"], "twice"),
    ],
)
def test_a_file_of_another_form(base, statements, what):
    change(base, *statements)
    with pytest.raises(klm.DataError, match=what) as error:
        films.read(base)
    assert str(base) in str(error.value) and "films.load()" in str(error.value)


def test_no_database(tmp_path):
    (tmp_path / "movies.db").write_text("<html>not found</html>" * 100)
    with pytest.raises(klm.DataError, match="not a database"):
        films.read(tmp_path / "movies.db")
    with pytest.raises(klm.DataError, match="no such file"):
        films.read(tmp_path / "other.db")
    assert not (tmp_path / "other.db").exists(), "sqlite would make one"


def test_facts_exchanged_on_the_disk_are_found(tmp_path, monkeypatch):
    """Two films exchange their directors: nothing but the checksum can know."""
    there = assets.fetch("films")
    monkeypatch.setattr(assets, "cache_dir", lambda: tmp_path)
    monkeypatch.setenv("KLM_OFFLINE", "1")
    shutil.copytree(there, tmp_path / "assets" / "films")
    assert len(films.load(entities=["Q44578"])) == 1
    swap = "UPDATE omdb SET Director = CASE ID WHEN 44578 THEN 'George Lucas' ELSE 'James Cameron' END"
    change(tmp_path / "assets" / "films" / "movies.db", f"{swap} WHERE ID IN (44578, 17738)")
    with pytest.raises(klm.AssetError, match=r"movies\.db"):
        films.load()


def test_movielens_has_the_facts_of_the_linked_films(movielens, table):
    items = movielens.items
    assert movielens.facts == films.FACTS == tuple(items.columns[-5:])
    linked = items["entity"].notna()
    assert linked.sum() == 1431
    assert items.loc[linked, "directors"].map(bool).mean() > 0.99 and not items.loc[~linked, "cast"].map(bool).any()
    assert items.loc[174, "directors"] == ["Steven Spielberg"] == table.loc[items.loc[174, "entity"], "directors"]
    of_raiders = movielens.triples[movielens.triples["head"] == items.loc[174, "entity"]]
    assert ("director", "Steven Spielberg") in set(zip(of_raiders["relation"], of_raiders["tail"], strict=True))
    assert set(movielens.triples["relation"]) == set(films.RELATIONS.values())


def test_facts_are_no_side_features_unless_named(movielens):
    split = klm.split(movielens, "cold_item", fold=0)
    plain = item_features(split)[0]
    assert {column["name"] for column in plain.columns} == {"tags", "year"}
    named, values = item_features(split, columns=["directors"])
    assert "directors=Woody Allen" in named.names and values.sum(0).min() >= 5 - 1
    where = np.flatnonzero([name == "directors=Woody Allen" for name in named.names])[0]
    assert values[movielens.items.index.get_loc(127), where] == 0, "the Godfather is not his"


@pytest.mark.parametrize(
    ("column", "what"),
    [("directors", "no such column"), ("title", "no list of texts"), ("numbers", "no list of texts")],
)
def test_facts_that_are_none(movielens, column, what):
    items = movielens.items[["title", "tags"]].assign(numbers=[[1]] * len(movielens.items))
    with pytest.raises(klm.DataError, match=what):
        klm.RecDataset.from_frames(items, None, movielens.interactions, facts=(column,))


def test_triples_want_a_table():
    with pytest.raises(klm.ConfigError, match=r"films\.load"):
        films.triples(pd.Series([1]))
