"""Linking: the cases that it is for, the traps, and the file that it wrote."""

import pandas as pd
import pytest

import klm_utils as klm
from klm_utils.data import films
from klm_utils.data.shipped import shipped
from klm_utils.knowledge import linking


@pytest.fixture(scope="module")
def table():
    return films.load()


def linked(theirs, title, year):
    """What the rules make of one film and a small table [(title, year), ...]: its place and the rule."""
    theirs = pd.DataFrame(theirs, columns=["title", "year"])
    found = linking.link(pd.DataFrame({"title": [title], "year": [year]}), theirs).iloc[0]
    return None if pd.isna(found["entity"]) else int(found["entity"]), found["rule"]


@pytest.mark.parametrize(
    ("ours", "theirs", "rule"),
    [
        (("Godfather: Part II, The", 1974), ("The Godfather Part II", 1974), "same name, same year"),
        (("Good Fellas", 1990), ("Goodfellas", 1990), "same name, same year"),
        (("8 1/2", 1963), ("8½", 1963), "same name, same year"),
        (("Twelve Monkeys", 1995), ("12 Monkeys", 1995), "same name, same year"),
        (("Three Colors: Red", 1994), ("Three Colours: Red", 1994), "same name, same year"),
        (("Seven Samurai (The Magnificent Seven)", 1954), ("Seven Samurai", 1954), "same name, same year"),
        (("Ma vie en rose (My Life in Pink)", 1997), ("My Life in Pink", 1997), "same name, same year"),
        (("Heathers", 1989), ("Heathers", 1988), "same name, a year off"),
        (("Postino, Il", 1994), ("Il Postino: The Postman", 1994), "part of the name"),
        (("Star Wars", 1977), ("Star Wars: Episode IV – A New Hope", 1977), "part of the name"),
        (("Star Trek: The Wrath of Khan", 1982), ("Star Trek II: The Wrath of Khan", 1982), "name within the name"),
        (("U.S. Marshalls", 1998), ("U.S. Marshals", 1998), "other spelling"),
        (("My Left Foot", 1989), ("My Left Foot", 1979), "long name, years off"),
        (("Babe (1995)", None), ("Babe", 1995), "same name, same year"),
    ],
)
def test_one_film_under_two_names(ours, theirs, rule):
    others = [("Persona", 1966), ("Some Like It Hot", 1959), ("Alien", 1979), ("The Thing", ours[1] or 1995)]
    assert linked([*others, theirs], *ours) == (len(others), rule)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (("Titanic", 1997), ("Titanic", 1953)),
        (("Fear, The", 1995), ("Fear", 1996)),
        (("Twisted", 1996), ("Twister", 1996)),
        (("Fausto", 1993), ("Faust", 1994)),
        (("Anna", 1996), ("Anna Karenina", 1997)),
        (("Search for One-eye Jimmy, The", 1996), ("Eye for an Eye", 1996)),
        (("Ballad of Narayama, The", 1958), ("The Ballad of Narayama", 1983)),
        (("unkonwn", None), ("Unknown", 2011)),
    ],
)
def test_two_films(ours, theirs):
    assert linked([theirs], *ours) == (None, "")


def test_namesakes_of_one_year_are_linked_to_neither():
    assert linked([("The Boys", 1998), ("Boys", 1998)], "Boys, Les", 1998) == (None, "several")
    assert linked([("Titanic", 1953), ("Titanic", 1997)], "Titanic", 1997) == (1, "same name, same year")


def test_the_links_that_ship_are_what_the_linker_finds(movielens, table):
    found = linking.link(movielens.items, table).dropna()
    stored = pd.read_csv(shipped("films/links.csv"), index_col="item_id", dtype={"entity": "str", "rule": "str"})
    pd.testing.assert_frame_equal(found.astype("str"), stored, check_dtype=False, check_index_type=False)
    items, log = movielens.items, movielens.interactions
    assert len(found) / len(items) >= 0.85 and log["item_id"].isin(found.index).mean() >= 0.965
    twins = items.groupby(["title", "year"])["entity"].nunique()
    assert twins.max() == 1, "a film under two ids is one film"


def test_the_sample_that_was_looked_at(movielens):
    """150 links drawn at random, 99 % of them right at least; the doubtful ones say why."""
    links = pd.read_csv(shipped("films/links.csv"), index_col="item_id")
    checked = pd.read_csv(shipped("films/checked.csv"), index_col="item_id", keep_default_na=False)
    drawn = links.sample(150, random_state=1).sort_index()
    assert checked["entity"].equals(drawn["entity"])
    assert (checked["verdict"] == "right").mean() >= 0.99 and set(checked["verdict"]) == {"right", "doubtful"}
    assert ((checked["verdict"] == "right") == (checked["note"] == "")).all()


def test_the_control_that_found_the_wrong_graph_finds_this_one_right(movielens, table):
    """Genres of MovieLens against those of Wikidata: of linked films, and of films dealt out anew."""
    words = {"Children's": "Family", "Film-Noir": "Crime"}
    items = movielens.items.dropna(subset="entity")
    ours = [{words.get(tag, tag) for tag in tags} for tags in items["tags"]]
    theirs = [set(genres) for genres in table.loc[items["entity"], "genres"]]

    def alike(a, b):
        return sum(len(x & y) / len(x | y) for x, y in zip(a, b, strict=True)) / len(a)

    assert alike(ours, theirs) > 2.5 * alike(ours, theirs[1:] + theirs[:1])


@pytest.mark.parametrize("frame", [None, pd.DataFrame({"title": ["Alien"]})])
def test_tables_that_are_none(frame, table):
    for ours, theirs in ((frame, table), (table, frame)):
        with pytest.raises(klm.KLMError, match="title"):
            linking.link(ours, theirs)
