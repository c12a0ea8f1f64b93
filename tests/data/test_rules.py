"""The rules of the tables at their limits."""

import re
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
from worlds import refused, with_text_ids

import klm_utils as klm
from klm_utils import DataError, RecDataset

HALF = "Party \ud83d"  # the first half of an emoji, as json.loads gives it
LARGE = 1_700_000_000_000_000_000  # nanoseconds since 1970: 19 digits


# -- events that stand twice


def test_a_log_joined_to_itself_is_refused_and_the_remedy_restores_it(tables):
    log = tables["interactions"]
    doubled = pd.concat([log, log.assign(rating=1.0)], ignore_index=True)  # a later copy may differ in the rating
    error = refused(tables, "repeat an earlier row in 4 rows", interactions=doubled)
    assert "(position 4)" in error.where and error.found[0] == (10, 1, 5) and "1 more" in error.where
    code = re.search(r"log\.drop_duplicates\(\[.*?\]\)", error.remedy).group()
    mended = eval(code, {"log": doubled})
    assert RecDataset.from_frames(**tables | {"interactions": mended}).interactions["rating"].sum() == 12
    code = re.search(r"log\.sort_values.*", error.remedy).group()
    with pytest.warns(UserWarning, match="1 rows are copies"):
        kept = RecDataset.from_frames(**tables | {"interactions": eval(code, {"log": doubled})}).interactions
    assert kept["item_id"].tolist() == [3, 3, 2, 2, 2, 2, 1, 1] and kept["timestamp"].is_unique


def test_several_events_of_one_second_are_told_apart_by_its_fraction(tables):
    dates = pd.to_datetime(["1970-01-01 00:00:05.25", "1970-01-01 00:00:05.75"])
    log = pd.DataFrame({"user_id": 10, "item_id": 1, "label": [1, 0], "timestamp": dates})
    error = refused(tables, "repeat", interactions=log.assign(timestamp=dates.floor("s")))
    assert "the fraction of the second" in error.remedy
    ds = RecDataset.from_frames(**tables | {"interactions": log})
    assert ds.interactions["timestamp"].tolist() == [5.25, 5.75]


def test_a_pair_at_another_time_is_no_copy_and_shows_in_the_density(tables):
    log = tables["interactions"]
    again = pd.concat([log, log.assign(timestamp=log["timestamp"] + 10)])
    untimed, said = (
        pd.concat([log, log]).drop(columns="timestamp"),
        pytest.warns(UserWarning, match="4 rows are copies"),
    )
    for twice, context in ((again, nullcontext()), (untimed, said)):
        with context:
            ds = RecDataset.from_frames(**tables | {"interactions": twice})
        assert "8 interactions (66.67% of the pairs, 4 repeats)" in repr(ds), "4 of 6 pairs, not 8 of 6"
    assert "repeats" not in repr(RecDataset.from_frames(**tables))


# -- numbers


@pytest.mark.parametrize("kind", [object, str, "int64", "Int64", "uint64"])
def test_times_of_19_digits_stay_exact(tables, kind):
    times = pd.Series([LARGE + 3, LARGE + 1, LARGE + 2, LARGE]).astype(kind)
    ds = RecDataset.from_frames(**tables | {"interactions": tables["interactions"].assign(timestamp=times)})
    assert ds.interactions["timestamp"].tolist() == [LARGE, LARGE + 1, LARGE + 2, LARGE + 3]


@pytest.mark.parametrize("kind", ["uint64", object, "UInt64"])
def test_times_end_below_2_to_the_63(tables, kind):
    def log(last):
        return tables["interactions"].assign(timestamp=pd.Series([1, 2, 3, last], dtype=kind))

    ds = RecDataset.from_frames(**tables | {"interactions": log(2**63 - 1)})
    assert ds.interactions["timestamp"].iloc[-1] == 2**63 - 1
    error = refused(tables, "not a time in 1 row", interactions=log(2**63))
    assert error.found == 2**63
    refused(tables, "not a time in 1 row", interactions=log(2).assign(timestamp=[1, 2, 3, 2.0**63]))


@pytest.mark.parametrize("column", ["timestamp", "rating", "label"])
@pytest.mark.parametrize("kind", ["complex128", object])
def test_complex_numbers_are_not_cut_to_real_ones(tables, column, kind):
    bad = tables["interactions"].astype({column: "complex128"})
    bad.loc[1, column] += 1j
    refused(tables, f"{column} is not .* in 1 row", interactions=bad.astype({column: kind}))


@pytest.mark.parametrize("optimum", [np.ma.array([0.1] * 4, mask=[0, 1, 0, 0]), [0.1j] * 4, [[0.1], 0.2, 0.3, 0.4]])
def test_masked_and_complex_probabilities_are_refused(tables, optimum):
    with pytest.raises(DataError, match="optimum"):
        RecDataset.from_frames(**tables, optimum=optimum)


# -- text


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("items", "item_id", HALF),
        ("items", "title", HALF),
        ("items", "tags", ["x", HALF]),
        ("items", "note", HALF),
        ("users", "user_id", HALF),
        ("users", "interests", [HALF]),
        ("interactions", "user_id", HALF),
        ("interactions", "timestamp", HALF),
        ("interactions", "list", HALF),
    ],
)
def test_half_a_character_is_refused_wherever_it_stands(tables, table, column, value):
    """It could be trained on, but not be saved: the work would be lost."""
    frames = with_text_ids(tables)
    frame = frames[table]
    old = frame[column].tolist() if column in frame else [None] * len(frame)
    frames[table] = frame.assign(**{column: pd.Series([value, *old[1:]], dtype=object)})
    with pytest.raises(DataError, match=f"{column} holds half a character") as caught:
        RecDataset.from_frames(**frames)
    repair = re.search(r"t\.encode.*", caught.value.remedy).group()
    assert eval(repair, {"t": HALF}) == "Party \ufffd" and eval(repair, {"t": "\ud83d\ude00"}) == "😀"


@pytest.mark.parametrize("field", ["name", "license", "source"])
@pytest.mark.parametrize("value", [HALF, None, 3])
def test_words_about_the_data_set_are_text(tables, field, value):
    with pytest.raises(klm.ConfigError, match=field):
        RecDataset.from_frames(**tables, **{field: value})


def test_half_a_character_in_the_triples(tables):
    triples = pd.DataFrame({"head": ["a"], "relation": ["r"], "tail": pd.Series([HALF], dtype=object)})
    with pytest.raises(DataError, match="tail holds half"):
        RecDataset.from_frames(**tables, triples=triples)


# -- columns


@pytest.mark.parametrize("table", ["items", "users", "interactions"])
def test_a_column_twice_is_refused_in_every_table(tables, table):
    for column in tables[table]:
        twice = pd.concat([tables[table], tables[table][[column]]], axis=1)
        error = refused(tables, f"{table} has a column twice", **{table: twice})
        assert error.found == column
    log = tables["interactions"].drop(columns="label")  # then the label is made from the rating
    refused(tables, "interactions has a column twice", interactions=pd.concat([log, log[["rating"]]], axis=1))


def test_a_column_of_ids_in_the_constructor_is_the_index(tables):
    """The row number would otherwise be the id, without a word."""
    ds = RecDataset("x", tables["items"], tables["users"], tables["interactions"])
    assert ds.items.index.tolist() == [1, 2, 3] and ds.users.index.tolist() == [10, 20]


@pytest.mark.parametrize("table", ["items", "users", "interactions"])
@pytest.mark.parametrize("name", ["Unnamed: 0", "Unnamed: 0.1", "", None, np.nan])
def test_a_column_without_a_name_is_left_out_and_said(tables, table, name):
    frame = tables[table].copy()
    frame.insert(0, name, np.arange(len(frame)))
    with pytest.warns(UserWarning, match=f"{table}: the column .* has no name"):
        ds = RecDataset.from_frames(**tables | {table: frame})
    plain = getattr(RecDataset.from_frames(**tables), table)
    pd.testing.assert_frame_equal(getattr(ds, table), plain)


def test_a_column_with_a_number_for_a_name_is_kept(tables, recwarn):
    ds = RecDataset.from_frames(
        **tables | {"items": tables["items"].assign(**{"Unnamed": 1}).rename(columns={"Unnamed": 0})}
    )
    assert 0 in ds.items and not recwarn
