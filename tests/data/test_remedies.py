"""The remedies of the messages about tables, carried out."""

import re
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from worlds import refused

from klm_utils import DataError, RecDataset
from klm_utils.data.histories import histories

HALF = "Party \ud83d"  # the first half of an emoji, as json.loads gives it
LARGE = 1_700_000_000_000_000_000  # nanoseconds since 1970: 19 digits


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
