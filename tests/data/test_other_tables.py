"""Logs of clicks, labels and ids of other kinds, tables of other libraries."""

import numpy as np
import pandas as pd
import pytest
from worlds import refused, with_text_ids

import klm_utils as klm
from klm_utils import RecDataset
from klm_utils.data.rules import places

HALF = "Party \ud83d"  # the first half of an emoji, as json.loads gives it
LARGE = 1_700_000_000_000_000_000  # nanoseconds since 1970: 19 digits


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
    frames = with_text_ids(tables)
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
