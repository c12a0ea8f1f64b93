"""The rules of the tables at their limits, and the remedies of their messages, carried out."""

import re
from contextlib import nullcontext
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

import klm_utils as klm
from klm_utils import DataError, RecDataset
from klm_utils.data.histories import histories
from klm_utils.data.rules import places

HALF = "Party \ud83d"  # the first half of an emoji, as json.loads gives it
LARGE = 1_700_000_000_000_000_000  # nanoseconds since 1970: 19 digits


def refused(tables, match, **frames):
    with pytest.raises(DataError, match=match) as caught:
        RecDataset.from_frames(**tables | frames)
    return caught.value


def texts(tables):
    """The tables with text for ids."""
    frames = {name: frame.copy() for name, frame in tables.items()}
    for frame in frames.values():
        for column in {"item_id", "user_id"} & set(frame):
            frame[column] = ("id " + frame[column].astype(str)).astype(object)
    return frames


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
    frames = texts(tables)
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


# -- remedies, carried out


def remedied(log, error):
    """The log with its times as the remedy of an error says: texts as dates, periods as theirs."""
    text = not isinstance(log["timestamp"].iloc[0], pd.Period)
    code = re.search(r"pd\.to_datetime\(.*?\)" if text else r"pd\.PeriodIndex.*?to_timestamp\(\)", error.remedy).group()
    return log.assign(timestamp=eval(code, {"log": log, "pd": pd}))


@pytest.mark.parametrize(
    "dates",
    [
        pd.to_datetime(pd.Series([5, 1, 1, 0]), unit="s"),
        pd.to_datetime(pd.Series([5, 1, 1, 0]), unit="s").astype("datetime64[ms]"),
        pd.to_datetime(pd.Series([5, 1, 1, 0]), unit="s", utc=True),
        pd.to_datetime(pd.Series([5, 1, 1, 0]), unit="s", utc=True).dt.tz_convert("Asia/Shanghai"),
        pd.to_datetime(pd.Series([5, 1, 1, 0]), unit="s").astype(object),
        pd.to_datetime(pd.Series([5, 1, 1, 0]), unit="s").dt.tz_localize("UTC").astype(object),
        pd.Series([datetime.fromtimestamp(n, ZoneInfo("Asia/Shanghai")) for n in (5, 1, 1, 0)], dtype=object),
        pd.to_datetime(pd.Series([5, 1, 1, 0]), unit="s").astype("category"),
    ],
)
def test_datetimes_become_seconds_and_are_utc_where_they_name_no_zone(tables, dates):
    log = tables["interactions"].assign(timestamp=dates)
    ds = RecDataset.from_frames(**tables | {"interactions": log})
    pd.testing.assert_frame_equal(ds.interactions, RecDataset.from_frames(**tables).interactions)
    assert histories(log, log) == [[2], [], [3], []]
    gap = log.assign(timestamp=pd.Series(dates).astype(object).where([True, True, True, False], None))
    refused(tables, "not a time in 1 row", interactions=gap)


def test_dates_before_1970_are_refused(tables):
    log = tables["interactions"].assign(
        timestamp=pd.to_datetime(["1970-01-02", "1970-01-03", "1969-12-31", "1970-01-01"])
    )
    assert refused(tables, "not a time in 1 row", interactions=log).found == pd.Timestamp("1969-12-31")


@pytest.mark.parametrize(
    "dates",
    [
        pd.Series([f"1970-01-01T00:00:0{n}" for n in (5, 1, 1, 0)]),
        pd.Series([f"1970-01-01 08:00:0{n}+08:00" for n in (5, 1, 1, 0)]),
    ],
)
def test_dates_as_text_are_refused_and_their_remedy_gives_their_seconds(tables, dates):
    log = tables["interactions"].assign(timestamp=dates)
    error = refused(tables, "not a time in 4 rows", interactions=log)
    ds = RecDataset.from_frames(**tables | {"interactions": remedied(log, error)})
    assert ds.interactions["timestamp"].tolist() == [0, 1, 1, 5]


@pytest.mark.parametrize("kind", ["period[D]", object])
def test_periods_are_not_taken_for_seconds_and_their_remedy_gives_seconds(tables, kind):
    days = pd.Series(pd.period_range("1970-01-01", periods=4, freq="D")).astype(kind)
    log = tables["interactions"].assign(timestamp=days)
    error = refused(tables, "not a time in 4 rows", interactions=log)
    refused(tables, "rating is not a finite number", interactions=tables["interactions"].assign(rating=days))
    with pytest.raises(DataError, match="not a time in 4 rows of log"):
        histories(log, log)
    ds = RecDataset.from_frames(**tables | {"interactions": remedied(log, error)})
    assert ds.interactions["timestamp"].tolist() == [0, 86400, 172800, 259200]


NARROW = [np.int32(1), np.int64(2), np.uint8(3)]


@pytest.mark.parametrize("ids", [NARROW, [np.int8(1), np.uint64(2), 3], [np.uint16(1), 2, np.int32(3)]])
def test_ids_are_judged_by_kind_and_not_by_width(tables, ids):
    ids = pd.Series(ids, dtype=object)
    items, log = tables["items"].assign(item_id=ids), tables["interactions"].assign(item_id=ids[[0, 1, 1, 2]].array)
    for frames in ({"items": items}, {"interactions": log}, {"items": items, "interactions": log}):
        ds = RecDataset.from_frames(**tables | frames)
        assert ds.items.index.dtype == ds.interactions["item_id"].dtype == "int64"
    words = [np.str_("1"), "2", np.str_("333")]
    text = tables["interactions"].assign(item_id=pd.Series([words[0], *words], dtype=object))
    assert refused(tables, "another type", items=items, interactions=text).expected == "int"
    named = tables["items"].assign(item_id=pd.Series(words, dtype=object))
    assert refused(tables, "another type", items=named, interactions=log).expected == "str"
    RecDataset.from_frames(**tables | {"items": named, "interactions": text})
    refused(tables, "stands twice in 1 row", items=items.assign(item_id=pd.Series([ids[0], 1, ids[2]], dtype=object)))


def test_an_id_of_numpy_that_is_too_long_is_called_so(tables):
    ids = pd.Series([np.uint64(2**63), np.int32(2), 3], dtype=object)
    error = refused(tables, "too long a number", items=tables["items"].assign(item_id=ids))
    assert f"row {2**63} (" in error.where and ".astype(str)" in error.remedy


@pytest.mark.parametrize("kind", ["uint64", object])
def test_the_remedy_for_ids_that_int64_does_not_hold_is_text(tables, kind):
    ids = np.array([2**64 - 1, 2**64 - 2, 3], dtype="uint64").astype(kind)
    items = tables["items"].assign(item_id=ids)
    log = tables["interactions"].assign(item_id=ids[[0, 1, 1, 2]])
    error = refused(tables, "too long", items=items, interactions=log)
    assert "int64" not in error.remedy.lower(), "it would wrap round to -1"
    code = re.search(r"frame\[.*?\]\.astype\(str\)", error.remedy).group()
    mended = [frame.assign(item_id=eval(code, {"frame": frame})) for frame in (items, log)]
    ds = RecDataset.from_frames(mended[0], tables["users"], mended[1])
    assert ds.items.index.tolist() == [str(2**64 - 1), str(2**64 - 2), "3"]


@pytest.mark.parametrize(
    ("ids", "first", "after"),
    [
        ([10.0, 10.0, None, 20.0], "astype('Int64')", [10, 10, 20]),  # a missing id made them float
        ([10, "a", 20, "b"], "astype(str)", None),
    ],
)
def test_the_remedy_for_mixed_and_missing_ids(tables, ids, first, after):
    error = refused(tables, "not an id", users=None, interactions=tables["interactions"].assign(user_id=ids))
    code = f"frame['user_id'].{first}"
    assert code in error.remedy or f".{first} for all else" in error.remedy
    log = tables["interactions"].assign(user_id=ids).dropna(subset="user_id")
    log["user_id"] = eval(code, {"frame": log})
    got = RecDataset.from_frames(tables["items"], None, log).interactions["user_id"]
    assert sorted(got) == (after or sorted(map(str, ids)))


def test_the_remedy_for_ids_never_cuts_a_fraction(tables):
    error = refused(tables, "not an id", items=tables["items"].assign(item_id=[1, 2.5, 3]))
    assert "'Int64'" in error.remedy
    with pytest.raises(TypeError):
        pd.Series([1, 2.5, 3]).astype("Int64")


def test_the_remedy_for_unknown_items_keeps_the_known_ones(tables):
    log = tables["interactions"].assign(item_id=[1, 2, 99, 0])
    error = refused(tables, "not in the table items", interactions=log)
    mended = eval(re.search(r"log\[log.*\]", error.remedy).group(), {"log": log, "items": tables["items"]})
    assert mended["item_id"].tolist() == [1, 2], "row numbers of items are no ids"


@pytest.mark.parametrize("kind", [lambda tags: np.array(tags, dtype=object), tuple, "|".join])
def test_tags_that_are_arrays_tuples_or_texts_have_a_remedy(tables, kind):
    items = tables["items"].assign(tags=pd.Series([("x", "z"), kind(["x", "y"]), []], dtype=object))
    error = refused(tables, "not a list of str in 2 rows", items=items)
    mended = items.assign(tags=eval(re.search(r"frame\[.*", error.remedy).group(), {"frame": items}))
    ds = RecDataset.from_frames(**tables | {"items": mended})
    assert ds.items["tags"].tolist() == [["x", "z"], ["x", "y"], []]


def test_missing_titles_have_a_remedy(tables):
    items = tables["items"].assign(title=["a", None, "c"])
    error = refused(tables, "not text in 1 row", items=items)
    mended = eval(re.search(r"frame\[.*?\)", error.remedy).group(), {"frame": items})
    assert RecDataset.from_frames(**tables | {"items": items.assign(title=mended)}).items["title"].tolist()[1] == ""


@pytest.mark.filterwarnings("error")
def test_a_log_of_clicks_is_one_of_choices(tables):
    """Two columns are enough, and nothing is to be said."""
    clicks = tables["interactions"][["user_id", "item_id"]]
    ds = RecDataset.from_frames(**tables | {"interactions": clicks.assign(page="home")})
    log = ds.interactions
    assert log["label"].tolist() == [1, 1, 1, 1] and log["rating"].tolist() == [1.0] * 4
    assert log["timestamp"].tolist() == [0, 1, 2, 3] and log["page"].tolist() == ["home"] * 4
    assert len(ds.chosen(log)) == 4 and not ds.graded and "each a choice, none graded" in repr(ds)
    assert (log.dtypes[["rating", "label"]] == ["float64", "int64"]).all()


def test_a_log_with_what_was_not_liked_is_graded(tables):
    ds = RecDataset.from_frames(**tables)
    assert ds.graded and "none graded" not in repr(ds)
    bare = RecDataset.from_frames(**tables | {"interactions": None})
    assert not bare.graded and "none graded" not in repr(bare)


@pytest.mark.parametrize(
    ("there", "missing"),
    [("ratings", "rating"), ("Rating", "rating"), ("lable", "label"), ("LABEL", "label"), ("time_stamp", "timestamp")],
)
def test_a_column_that_is_filled_in_although_one_is_called_nearly_so_is_told(tables, there, missing):
    clicks = tables["interactions"][["user_id", "item_id"]].assign(**{there: 0})
    with pytest.warns(UserWarning, match=f"no column '{missing}', .* if '{there}' is it, rename"):
        RecDataset.from_frames(**tables | {"interactions": clicks})


def test_a_missing_column_is_told_with_the_columns_that_were_given(tables):
    bare = refused(tables, "no column 'title'", items=tables["items"][["item_id"]])
    assert bare.found == ["item_id"], "tags are filled in by from_frames"


@pytest.mark.parametrize("kind", [bool, "boolean", object, "category", "bool[pyarrow]"])
def test_labels_may_be_truth_values(tables, kind):
    if "pyarrow" in str(kind):
        pytest.importorskip("pyarrow")
    log = tables["interactions"].drop(columns="rating")
    ds = RecDataset.from_frames(**tables | {"interactions": log.assign(label=log["label"].astype(bool).astype(kind))})
    pd.testing.assert_frame_equal(
        ds.interactions, RecDataset.from_frames(**tables | {"interactions": log}).interactions
    )


def test_columns_of_categories_become_those_of_their_values(tables):
    """As categories, numbers would be no features, and texts could not be filled in."""
    items = tables["items"].assign(
        title=pd.Categorical(["a", "b", "a"]),
        year=pd.Categorical([1990, None, 1991]),
        price=pd.Categorical([2.5, 1.5, 2.5]),
    )
    ds = RecDataset.from_frames(**tables | {"items": items})
    assert ds.items["title"].tolist() == ["a", "b", "a"] and ds.items["title"].dtype == tables["items"]["title"].dtype
    assert ds.items["year"].tolist() == [1990, pd.NA, 1991] and ds.items["price"].sum() == 6.5


@pytest.mark.parametrize("kind", ["int64", "str", object, "category", "Int64"])
def test_positions_of_ids_of_any_type(kind):
    known, ids = pd.Index([30, 10, 20]), pd.Series([10, 99, 30, 10])
    if kind in ("str", "category"):
        known, ids = known.astype(str), ids.astype(str)
    for given in (ids.astype(kind), ids.astype(kind).to_numpy()):
        assert places(known, given).tolist() == [1, -1, 0, 1]
    assert places(known, ids.astype(kind)[:0]).tolist() == []


@pytest.mark.parametrize("table", ["items", "interactions"])
def test_a_missing_id_among_categories_is_a_short_message(tables, table):
    column = pd.Categorical([1, 2, None] if table == "items" else [1, 2, 2, None])
    error = refused(tables, "item_id is not an id in 1 row", **{table: tables[table].assign(item_id=column)})
    assert len(str(error)) < 500 and "Traceback" not in str(error)


# -- how ratings became labels


def test_another_threshold_or_scale_is_said_and_the_usual_one_is_not(tables):
    log = tables["interactions"].drop(columns="label").assign(rating=[5.0, 2.0, 4.0, 1.0])

    def told(log, **options):
        text = repr(RecDataset.from_frames(**tables | {"interactions": log}, **options))
        return text[text.find("label 1:") :].split(";")[0] if "label 1:" in text else ""

    assert told(log) == "" and told(log.assign(rating=[5.0, 3.5, 4.0, 0.5])) == ""
    assert told(log.assign(rating=2 * log["rating"])) == "label 1: ratings from 4 to 10, 75.0% of the rows"
    assert told(log, like_at=2) == "label 1: ratings from 2 to 5, 75.0% of the rows"
    assert told(log.assign(rating=log["rating"] / 5)) == "label 1: no rating, the largest is 1"
    assert (
        told(log.assign(rating=log["rating"] / 5), like_at=0.8) == "label 1: ratings from 0.8 to 1, 50.0% of the rows"
    )
    assert told(tables["interactions"].drop(columns="rating")) == "", "clicks have no scale"
    assert told(tables["interactions"].assign(rating=[9, 8, 7, 6])) == "", "the label is of another source"


@pytest.mark.parametrize("like_at", [None, np.nan, "4", [4], 4j, np.inf, True])
def test_like_at_is_a_number(tables, like_at):
    with pytest.raises(klm.ConfigError, match="like_at"):
        RecDataset.from_frames(**tables, like_at=like_at)


# -- tables of other libraries


class Other:
    """A frame of another library; its lists become arrays, as those of polars do."""

    def __init__(self, frame):
        self.frame, self.calls = frame, 0

    def to_pandas(self):
        self.calls += 1
        if isinstance(self.frame, Exception):
            raise self.frame
        array = lambda cell: np.array(cell, dtype=object) if isinstance(cell, list) else cell  # noqa: E731
        return self.frame.map(array) if isinstance(self.frame, pd.DataFrame) else self.frame


def test_a_table_with_to_pandas_is_taken(tables):
    triples = pd.DataFrame({"head": ["a"], "relation": ["r"], "tail": ["b"]})
    others = {name: Other(frame) for name, frame in (tables | {"triples": triples}).items()}
    one, other = RecDataset.from_frames(**tables, triples=triples), RecDataset.from_frames(**others)
    for table in others:
        pd.testing.assert_frame_equal(getattr(one, table), getattr(other, table))
    assert {frame.calls for frame in others.values()} == {1}
    RecDataset.from_frames(**tables | {"users": None})


@pytest.mark.parametrize("table", ["items", "users", "interactions", "triples"])
def test_a_table_whose_to_pandas_gives_none_is_refused(tables, table):
    error = refused(tables, f"table {table} cannot be made", **{table: Other(ImportError("pyarrow is required"))})
    assert "pyarrow is required" in error.found
    refused(tables, f"{table} is not a table", **{table: Other(pd.Series([1]))})


def test_tables_of_pyarrow_itself(tables):
    arrow = pytest.importorskip("pyarrow", reason="its tables are accepted, but it is no dependency of the course")
    others = {name: arrow.Table.from_pandas(frame) for name, frame in tables.items()}
    one, other = RecDataset.from_frames(**tables), RecDataset.from_frames(**others)
    for table in others:
        pd.testing.assert_frame_equal(getattr(one, table), getattr(other, table))


# -- pyarrow's types


@pytest.fixture
def arrow():
    return pytest.importorskip("pyarrow", reason="its types are accepted, but it is no dependency of the course")


def test_tables_of_pyarrow_types_become_the_same_data_set(tables, arrow):
    as_arrow = {name: frame.drop(columns="tags", errors="ignore") for name, frame in tables.items()}
    as_arrow = {name: frame.convert_dtypes(dtype_backend="pyarrow") for name, frame in as_arrow.items()}
    as_arrow["items"]["tags"] = tables["items"]["tags"].astype(pd.ArrowDtype(arrow.list_(arrow.string())))
    assert all(isinstance(dtype, pd.ArrowDtype) for frame in as_arrow.values() for dtype in frame.dtypes[:1])
    one, other = RecDataset.from_frames(**tables), RecDataset.from_frames(**as_arrow)
    pd.testing.assert_frame_equal(one.interactions, other.interactions)
    pd.testing.assert_frame_equal(one.items, other.items, check_dtype=False)
    pd.testing.assert_frame_equal(one.users, other.users, check_dtype=False)
    assert other.items.index.dtype == other.interactions["timestamp"].dtype == "int64"


@pytest.mark.parametrize("kind", ["string", "large_string", "dictionary"])
def test_text_ids_of_pyarrow(tables, arrow, kind):
    made = arrow.dictionary(arrow.int32(), arrow.string()) if kind == "dictionary" else getattr(arrow, kind)()
    frames = texts(tables)
    for frame in frames.values():
        for column in {"item_id", "user_id"} & set(frame):
            frame[column] = frame[column].astype(pd.ArrowDtype(made))
    ds = RecDataset.from_frames(**frames | {"items": frames["items"].set_index("item_id")})
    assert ds.items.index.tolist() == ["id 1", "id 2", "id 3"]
    assert ds.interactions["item_id"].tolist() == ["id 3", "id 2", "id 2", "id 1"]


def test_dates_missing_ids_and_years_of_pyarrow(tables, arrow):
    log = tables["interactions"]
    dates = pd.to_datetime(log["timestamp"], unit="s", utc=True).astype("timestamp[us, UTC][pyarrow]")
    ds = RecDataset.from_frames(**tables | {"interactions": log.assign(timestamp=dates)})
    assert ds.interactions["timestamp"].tolist() == [0, 1, 1, 5]
    missing = pd.Series([10, None, 20, 20], dtype="int64[pyarrow]")
    refused(tables, "user_id is not an id in 1 row", interactions=log.assign(user_id=missing))
    items = tables["items"].assign(year=pd.Series([1990, None, 1991], dtype="int64[pyarrow]"))
    assert pd.api.types.is_integer_dtype(RecDataset.from_frames(**tables | {"items": items}).items["year"].dtype)
