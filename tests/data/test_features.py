import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

import klm_utils as klm
from klm_utils.data.features import SideFeatures, item_features, user_features

FRAME = pd.DataFrame(
    {
        "title": [f"t{i}" for i in range(12)],
        "tags": [["x", "y"], ["x"], [], ["y", "rare"]] * 3,
        "job": ["a", "b", "a", None] * 3,
        "year": pd.array([1990, 1991, 1992, None] * 3, dtype="Int64"),
        "new": [True, False, True, False] * 3,
        "constant": 7,
    }
)


def fitted(**options):
    return SideFeatures.fit(FRAME, **{"min_count": 4, "buckets": 3, **options})


def column(features, name, frame=FRAME):
    return features.transform(frame)[:, features.names.index(name)].tolist()


def test_each_kind_of_column():
    features = fitted()
    assert features.names == ["tags=x", "tags=y", "job=a", "year<=1990", "1990<year<=1991", "year>1991", "new"]
    assert column(features, "tags=y")[:4] == [1, 0, 0, 1]
    assert column(features, "job=a")[:4] == [1, 0, 1, 0]
    assert column(features, "1990<year<=1991")[:4] == [0, 1, 0, 0]
    assert column(features, "new")[:4] == [1, 0, 1, 0]
    matrix = features.transform(FRAME)
    assert matrix.dtype == np.float32 and matrix.shape == (12, 7)
    assert matrix[3, 3:6].sum() == 0, "a missing year is in no bucket"


def test_min_count_is_a_limit_that_counts_rows_not_occurrences():
    assert "tags=rare" in fitted(min_count=3).names and "tags=rare" not in fitted(min_count=4).names
    doubled = pd.DataFrame({"tags": [["z", "z", "z"], ["z"], []]})
    assert SideFeatures.fit(doubled, min_count=2).names == ["tags=z"]
    assert SideFeatures.fit(doubled, min_count=3).names == []
    assert SideFeatures.fit(doubled, min_count=2).transform(doubled).tolist() == [[1], [1], [0]]


def test_unseen_and_missing_values_are_zeros():
    features = fitted()
    unseen = pd.DataFrame(
        {"tags": [["q"], None], "job": ["q", None], "year": [np.nan, np.inf], "new": [None, None], "title": ["", ""]}
    )
    assert not features.transform(unseen).any()


def test_numbers_outside_the_fitted_range_fall_into_the_outer_buckets():
    low_high = pd.DataFrame({"year": [0, 3000]})
    features = SideFeatures.fit(FRAME, columns=["year"], buckets=3)
    assert features.transform(low_high).tolist() == [[1, 0, 0], [0, 0, 1]]


def test_buckets_hold_about_equally_many_rows_and_every_row_one():
    ages = pd.DataFrame({"age": np.random.default_rng(0).normal(size=1000)})
    matrix = SideFeatures.fit(ages, buckets=10).transform(ages)
    assert matrix.sum(0).tolist() == [100] * 10 and (matrix.sum(1) == 1).all()


def test_json_round_trip_gives_the_same_matrix():
    features = fitted()
    again = SideFeatures.from_dict(json.loads(json.dumps(features.to_dict())))
    assert again.names == features.names and np.array_equal(again.transform(FRAME), features.transform(FRAME))


def test_names_are_unique_for_numbers_that_differ_late():
    seconds = pd.DataFrame({"t": 893_286_000 + np.arange(100)})
    names = SideFeatures.fit(seconds).names
    assert len(set(names)) == len(names) == 10


def test_a_table_without_features_gives_a_matrix_of_width_zero():
    none = pd.DataFrame({"title": ["a", "b"]})
    assert SideFeatures.fit(none).transform(none).shape == (2, 0)
    bare = pd.DataFrame(index=range(3))
    assert SideFeatures.fit(bare).transform(bare).shape == (3, 0)


def test_the_index_of_the_frame_does_not_matter():
    shuffled = FRAME.set_axis([5] * 12)
    assert np.array_equal(fitted().transform(shuffled), fitted().transform(FRAME))


def test_wrong_columns_and_settings():
    with pytest.raises(klm.DataError, match="no column 'price'"):
        SideFeatures.fit(FRAME, columns=["price"])
    with pytest.raises(klm.DataError, match="no column 'job'"):
        fitted().transform(FRAME.drop(columns="job"))
    with pytest.raises(klm.ConfigError, match="no kind"):
        SideFeatures.fit(FRAME.assign(when=pd.Timestamp(0)), columns=["when"])
    for wrong in ({"min_count": 0}, {"buckets": 0}, {"min_count": None}, {"buckets": "ten"}):
        with pytest.raises(klm.ConfigError, match="whole number"):
            fitted(**wrong)
    for call in (SideFeatures.fit, fitted().transform):
        with pytest.raises(klm.ConfigError, match="a DataFrame"):
            call(None)


def test_movielens_features(movielens):
    features, matrix = item_features(klm.split(movielens, "random"))
    genres = [name for name in features.names if name.startswith("tags=")]
    assert len(genres) == 18 and len(features.names) - len(genres) <= 10 and matrix.shape == (1682, len(features.names))
    assert not any(name.startswith(("title=", "entity=")) for name in features.names)
    toy_story = {name for name, value in zip(features.names, matrix[0], strict=True) if value}
    assert {"tags=Animation", "tags=Children's", "tags=Comedy"} < toy_story and len(toy_story) == 4
    features, matrix = user_features(klm.split(movielens, "random"))
    assert {"gender=M", "gender=F", "occupation=student"} < set(features.names) and matrix.shape[0] == 943


def test_nothing_of_cold_items_or_users_reaches_the_vocabulary(movielens):
    """A tag and an occupation that only the cold test ids carry must not become features; the whole table has them."""
    for kind, make in (("item", item_features), ("user", user_features)):
        split = klm.split(movielens, f"cold_{kind}")
        frame = getattr(movielens, f"{kind}s")
        cold = frame.index.isin(split.test[f"{kind}_id"]) | frame.index.isin(split.valid[f"{kind}_id"])
        marked = frame.assign(mark=np.where(cold, "cold", "warm"), number=np.where(cold, 1e6, np.arange(len(frame))))
        split = klm.split(dataclasses.replace(movielens, **{f"{kind}s": marked}), f"cold_{kind}")
        features, matrix = make(split)
        assert "mark=warm" in features.names and "mark=cold" not in features.names
        assert "mark=cold" in SideFeatures.fit(marked).names, "fitted on all of them it would be there"
        edges = next(column["edges"] for column in features.columns if column["name"] == "number")
        assert max(edges) < len(frame) and matrix.shape[0] == len(frame)
