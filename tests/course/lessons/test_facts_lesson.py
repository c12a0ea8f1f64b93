"""What notebook 07 asks of facts, and its drawings."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from drawn import texts

import klm_utils as klm
from klm_utils import course
from klm_utils.course.exercises.ch07 import PAIRS
from klm_utils.course.lessons import facts
from klm_utils.evaluation import kept


@pytest.fixture(scope="module")
def trained():
    ds = klm.load_dataset("movielens-100k")
    films = replace(ds, items=ds.items.head(200), interactions=ds.interactions[ds.interactions["item_id"] <= 200])
    split = klm.split(films, "cold_item")
    model = klm.KLMRecommender.from_split(split, facts=ds.facts)
    klm.fit(model, split, klm.TrainConfig(objective="interaction", epochs=3))
    return split, model


def test_what_a_fact_brings_is_the_score_without_it(trained):
    split, model = trained
    item = int(split.test["item_id"].iloc[0])
    film, user = split.dataset.items.loc[item], int(split.test["user_id"].iloc[0])
    before = film.copy(deep=True)
    brings = facts.drop_each(model, split.dataset.items.loc[[item]], split.dataset.facts, [user]).loc[user, item]
    assert film.equals(before) and set(brings.index) == facts_of(film)
    name = film["cast"][0]
    less = film.to_frame().T.assign(item_id=9001, cast=[[other for other in film["cast"] if other != name]])
    without = model.with_items(less.astype({"year": "Int64"})).scores([user], [9001])[0]
    whole = model.with_items(film.to_frame().T.assign(item_id=9001).astype({"year": "Int64"})).scores([user], [9001])[0]
    assert np.isclose(brings[f"cast={name}"], whole - without, atol=1e-5) and np.ptp(brings) > 0


def facts_of(film):
    return {f"{column}={name}" for column in ("directors", "writers", "cast", "countries", "languages")
            for name in film[column]}  # fmt: skip


def test_holders_are_the_films_that_have_the_fact(movielens):
    holders = facts.holders(movielens)
    allen = movielens.items.loc[holders["directors=Woody Allen"]]
    assert len(allen) > 5 and all("Woody Allen" in names for names in allen["directors"])


def test_a_film_without_facts_brings_nothing(trained):
    split, model = trained
    films = split.dataset.items.iloc[:1].copy()
    for column in split.dataset.facts:
        films[column] = [[]]
    assert facts.drop_each(model, films, split.dataset.facts, [int(split.test["user_id"].iloc[0])]).empty


def test_each_fact_of_each_film_is_compared_with_the_whole_of_its_own_film(trained):
    split, model = trained
    films, users = (
        split.dataset.items.loc[split.test["item_id"].unique()[:3]],
        split.test["user_id"].unique()[:2].tolist(),
    )
    both = facts.drop_each(model, films, split.dataset.facts, users)
    for item in films.index:
        alone = facts.drop_each(model, films.loc[[item]], split.dataset.facts, users[1:])
        assert np.allclose(both.loc[users[1:], [item]], alone, atol=1e-5) and alone.shape[1] == len(
            facts_of(films.loc[item])
        )


HOLDERS = {"cast=A": [1, 2, 9], "cast=B": [3, 9], "directors=C": [9], "directors=D": [4, 9], "cast=E": [1]}


def test_paths_lead_over_facts_that_liked_films_share():
    assert facts.paths([2, 1, 4], 9, HOLDERS) == {"cast=A": [2, 1], "directors=D": [4]}
    assert facts.paths([9, 5], 9, HOLDERS) == {}, "the film itself and strangers are no path"


def test_the_check_compares_users_with_and_without_a_path():
    own = pd.MultiIndex.from_tuples([(9, "cast=A"), (9, "cast=B"), (9, "directors=C"), (9, "directors=D")])
    falls = pd.DataFrame(
        [[0.5, 0.1, 7.0, 0.0], [0.1, 0.4, 7.0, 0.3], [0.3, 0.0, 7.0, 0.1]], index=[1, 2, 3], columns=own
    )
    table = facts.path_check(falls, {1: [1], 2: [3, 4]}, HOLDERS)
    one_film = [0.325, 0.325]  # the bootstrap draws films, and there is one
    assert np.allclose(table.loc["actor"], [(0.5 + 0.4) / 2, (0.2 + 0.05) / 2, *one_film, 2])
    assert np.allclose(table.loc["director"], [0.3, 0.05, 0.25, 0.25, 1]), "nobody can have a path over C"


def test_its_interval_is_wider_if_films_differ():
    own = pd.MultiIndex.from_tuples([(item, "cast=A") for item in (1, 2, 9)])
    holders = {"cast=A": [1, 2, 9]}
    alike = pd.DataFrame([[0.3, 0.3, 0.3], [0.1, 0.1, 0.1]], index=[1, 2], columns=own)
    differ = pd.DataFrame([[0.9, 0.0, 0.0], [0.1, 0.1, 0.1]], index=[1, 2], columns=own)
    tables = [facts.path_check(falls, {1: [1, 2, 9]}, holders).loc["actor"] for falls in (alike, differ)]
    assert np.allclose(tables[0][["low", "high"]], 0.2) and tables[1]["low"] < 0 < tables[1]["high"]


def test_a_thick_way_is_one_that_the_score_needs():
    ax = facts.ways(
        "user 1",
        "M$M",
        {"cast=A": ["X", "Y", "Z"], "cast=B": ["W" * 9 + " " + "V" * 30]},
        {"cast=A": 0.5, "cast=B": -0.2},
    )
    assert {"user 1", "M$M", "X and 2 more", "actor B", "+0.50", "-0.20"} <= set(texts(ax))
    assert ax.lines[0].get_linewidth() > 5 > ax.lines[3].get_linewidth() and "V" * 30 not in str(texts(ax))
    assert [ax.lines[at].get_color() for at in (0, 3)] == [*facts.COLOURS[:2]], (
        "orange: without it the score would rise"
    )


def test_drawings_say_what_they_are_given():
    shown = facts.known_of("M$M", {"actor A": ["X", "Y", "Z"], "actor B": []})
    assert {"M$M", "actor A", "X, Y and 1 more", "no other film"} <= set(texts(shown))
    ladder = facts.ladder({"strict": 3, "loose": 1}, 8, {"strict": "Net, The = The Net"})
    assert texts(ladder) == ["+3: 37.5%", "Net, The = The Net", "+1: 50.0%", ""]
    line = facts.timeline({"before": 1997.9, "after, $5": 1998.5}, now=1998.3)
    assert [label.get_text() for label in line.get_yticklabels()] == ["before", r"after, \$5"]
    assert [mark.get_color() for mark in line.lines[1:4:2]] == [facts.COLOURS[0], facts.COLOURS[1]]
    assert [bar.get_width() for bar in facts.bars({"a": 2.0, "b": -1.0}, "worth").patches] == [2.0, -1.0]


def test_lines_join_the_places_of_a_film_in_two_lists():
    ax = facts.moved(["A", "B", "C"], ["B", "A", "D"], ("old", "new"))
    assert [list(line.get_ydata()) for line in ax.lines] == [[-1, -2], [-2, -1]]
    assert [line.get_color() for line in ax.lines] == ["#BBBBBB", facts.COLOURS[1]]
    assert {"A  1", "1  B", "3  D", "old", "new"} <= set(texts(ax))


def test_the_curve_shows_what_is_left_of_the_gain():
    runs = kept.load(course.stored("which_facts.json"))
    levels = {"text": "text alone", "genre, year": "genre"}
    ax = facts.curve(runs, {0.0: "text and facts", 1.0: "links spoilt: 100%"}, levels)
    values = runs.values()
    mean = (values[["text and facts", "links spoilt: 100%"]].mean() - values["text"].mean()).tolist()
    dots, thick, thin, line = ax.lines[0], *ax.lines[1:3], ax.lines[6]
    assert np.allclose(line.get_ydata(), mean) and mean[0] > 0 > mean[1] and {"text alone", "genre"} <= set(texts(ax))
    assert np.allclose(dots.get_ydata(), values["text and facts"] - values["text"])
    gain = runs.gain("text and facts", "text")
    assert np.allclose(thick.get_ydata(), [gain.low, gain.high], atol=1e-4) and thick.get_linewidth() > 3
    assert np.allclose(thin.get_ydata(), gain.others, atol=1e-4) and thin.get_color() == facts.COLOURS[0]


def test_an_example_is_the_best_known_film_that_two_tables_write_differently():
    ours = pd.DataFrame({"title": ["Heat", "Net, The", "Birdcage, The", "Lost"], "year": 1995}, index=[1, 2, 3, 4])
    theirs = pd.DataFrame({"title": ["Heat", "The Net", "The Birdcage"], "year": 1995}, index=["Q1", "Q2", "Q3"])
    found = pd.DataFrame({"entity": ["Q1", "Q2", "Q3", None], "rule": ["same", "same", "same", None]}, ours.index)
    ratings = pd.Series({1: 9, 2: 5, 3: 7, 4: 8})
    assert facts.examples(found, ours, theirs, ratings) == {"same": "Birdcage, The (1995) = The Birdcage (1995)"}
    assert facts.examples(found, ours, theirs, ratings, 35) == {"same": "Net, The (1995) = The Net (1995)"}


def test_fans_are_those_whom_the_people_lift(trained):
    split, model = trained
    ds, users = split.dataset, split.dataset.users.index.tolist()
    film = {"title": "M", "year": 1998, "tags": ["Drama"], **{column: [] for column in ds.facts}}
    typed = film | {"cast": ["Harrison Ford"], "countries": ["United States"]}
    table = facts.fans(model, typed, split)
    wide = model.with_items(pd.DataFrame([typed, typed | {"cast": []}]).assign(item_id=[9001, 9002]))
    lift = pd.Series(wide.scores(users, [9001] * len(users)) - wide.scores(users, [9002] * len(users)), users)
    liked = split.train[split.train["rating"] >= 4]
    first = lift[lift.index.isin(liked["user_id"])].idxmax()
    assert table.index[0] == f"user {first}" and table.index[-1] == "all users, mean" and len(table) == 4
    ford = ds.items["cast"].map(lambda names: "Harrison Ford" in names)
    assert table.iloc[0, 0] == pytest.approx(ford.loc[liked.loc[liked["user_id"] == first, "item_id"]].mean())
    assert 0 < table.iloc[-1, 0] < 0.5, "of all users the mean"
    assert list(facts.fans(model, film, split).index) == ["all users, mean"], "a film without people lifts nobody"


def test_who_is_known_is_who_made_a_film_of_train(trained):
    split, _ = trained
    film = {column: [] for column in facts.PEOPLE}
    assert facts.who_is_known(film | {"cast": ["Harrison Ford", "Nobody"]}, split) == (
        "known: actor Harrison Ford; unknown: actor Nobody"
    )
    assert "None of them is in train" in facts.who_is_known(film | {"directors": ["Nobody"]}, split)


def test_tables_of_falls_agree_where_the_same_fact_is_on_top():
    own = pd.MultiIndex.from_tuples([(1, "cast=A"), (1, "cast=B"), (2, "cast=C")], names=["item", "fact"])
    one = pd.DataFrame([[0.2, 0.1, 0.0], [0.1, 0.2, 0.5]], columns=own)
    assert facts.agree(one, one) == (1.0, pytest.approx(1.0))
    two = one.copy()
    two.iloc[0, :2] = [0.1, 0.2]
    assert facts.agree(one, two)[0] == 0.75 and 0 < facts.agree(one, two)[1] < 1


def test_the_pairs_of_an_exercise_are_linked_as_the_solution_says():
    rules = {letter: facts.rule_of(pair) for letter, pair in PAIRS.items()}
    assert {letter for letter, rule in rules.items() if rule != "no link"} == {"b", "d"}


def test_differences_are_those_of_the_runs():
    runs = kept.load(course.stored("which_facts.json"))
    row = facts.differences(runs, [("text and facts", "text")]).iloc[0].tolist()
    assert row[:2] == ["text and facts", "text"] and row[3:] == ["+0.030", "[+0.026, +0.034]", "[+0.016, +0.045]"]
    assert row[2] == pytest.approx(runs.values()["text and facts"].mean())
