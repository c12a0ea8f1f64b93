"""Vectors of facts: what they are sums of, what they are fitted on, and the control."""

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

import klm_utils as klm
from klm_utils.knowledge.controls import facts_shuffled
from klm_utils.knowledge.vectors import FactVectors, facts_in

ITEMS = pd.DataFrame(
    {
        "directors": [["A"], ["A", "A"], ["B"], [], ["A", "B"]],
        "cast": [["x", "y"], ["y"], ["z"], [], ["Conan O'Brien, Jr."]],
    }
)
COLUMNS = ("directors", "cast")


def test_with_all_directions_nothing_is_lost():
    """Then the products of the vectors are the cosines of scikit-learn's tf-idf."""
    found = FactVectors.fit(ITEMS, COLUMNS, width=99).transform(ITEMS)
    want = TfidfVectorizer(analyzer=lambda bag: bag).fit_transform(facts_in(ITEMS, COLUMNS)).toarray()
    np.testing.assert_allclose(found @ found.T, want @ want.T, atol=1e-6)
    assert found.dtype == np.float32 and not found[3].any()
    np.testing.assert_allclose(np.linalg.norm(found[[0, 1, 2, 4]], axis=1), 1, rtol=1e-5)


def test_a_few_directions_are_those_of_the_svd(movielens):
    items = movielens.items.iloc[:400]
    found = FactVectors.fit(items, movielens.facts, width=8).transform(items)
    weighted = TfidfVectorizer(analyzer=lambda bag: bag).fit_transform(facts_in(items, movielens.facts)).toarray()
    best = np.linalg.svd(weighted, full_matrices=False)[2][:8]
    want = weighted @ best.T
    want /= np.maximum(np.linalg.norm(want, axis=1, keepdims=True), 1e-9)
    assert np.abs(found @ found.T - want @ want.T).max() < 1e-4
    assert np.array_equal(found, FactVectors.fit(items, movielens.facts, width=8).transform(items))


def test_facts_that_were_not_met_are_nothing():
    known = FactVectors.fit(ITEMS.head(3), COLUMNS, width=99)
    assert known.facts == ["cast=x", "cast=y", "cast=z", "directors=A", "directors=B"]
    new = pd.DataFrame({"directors": [["A", "nobody"], ["nobody"]], "cast": [[], ["z "]]})
    like = pd.DataFrame({"directors": [["A"], []], "cast": [[], []]})
    assert np.array_equal(known.transform(new), known.transform(like)) and not known.transform(new)[1].any()
    assert known.transform(ITEMS.head(0)).shape == (0, known.axes.shape[1])


@pytest.mark.parametrize(
    ("frame", "columns", "what"),
    [
        (ITEMS, ("director",), "no such column"),
        (ITEMS.assign(cast="x"), COLUMNS, "no list of texts"),
        (ITEMS.assign(cast=[[1]] * 5), COLUMNS, "no list of texts"),
        (ITEMS, "cast", "wrong kind"),
        ([], COLUMNS, "wrong kind"),
        (ITEMS.iloc[[3]], COLUMNS, "nothing is known"),
        (ITEMS, (), "nothing is known"),
    ],
)
def test_no_facts(frame, columns, what):
    with pytest.raises(klm.KLMError, match=what):
        FactVectors.fit(frame, columns)


def test_facts_that_no_two_films_share():
    """All directions are equally long then, and ARPACK gives up on this table: "no shifts could be applied"."""
    count = np.random.default_rng(1).integers
    frame = pd.DataFrame({"cast": [[f"{film} {k}" for k in range(count(0, 17))] for film in range(400)]})
    vectors = FactVectors.fit(frame, ["cast"]).transform(frame)
    assert vectors.shape == (400, 64) and np.isfinite(vectors).all()


def test_facts_of_a_share_of_the_films_are_exchanged(movielens):
    own, dealt = movielens.items["cast"], facts_shuffled(movielens, share=0.25).items["cast"]
    assert 0.2 < np.mean([a != b for a, b in zip(own, dealt, strict=True)]) <= 0.25
    assert facts_shuffled(movielens, share=0).items.equals(movielens.items)
    with pytest.raises(klm.ConfigError, match="share"):
        facts_shuffled(movielens, share=1.5)


def test_shuffled_facts_are_those_of_another_item(movielens):
    other = facts_shuffled(movielens, seed=1)
    own, dealt = movielens.items, other.items
    assert sorted(map(str, own["cast"])) == sorted(map(str, dealt["cast"])) and own["tags"].equals(dealt["tags"])
    one = own.dropna(subset="entity").drop_duplicates("entity").set_index("entity")
    there = dealt.dropna(subset="entity")
    assert (one.loc[there["entity"], "cast"].tolist()) == there["cast"].tolist(), "the entity goes along"
    assert (own["entity"] == dealt["entity"]).mean() < 0.02
    with pytest.raises(klm.DataError, match="no facts"):
        facts_shuffled(klm.load_dataset("shop"))
