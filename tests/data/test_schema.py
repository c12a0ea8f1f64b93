import dataclasses
import json
import pickle
import time

import numpy as np
import pandas as pd
import pytest

import klm_utils as klm
from klm_utils import DataError, RecDataset


def broken(tables, table, column, row, value):
    """The tables with one cell replaced, whatever the type of its column."""
    frame = tables[table].astype({column: object})
    frame[column] = [value if i == row else old for i, old in enumerate(frame[column])]
    return tables | {table: frame}


def test_the_log_is_sorted_by_time_and_ties_keep_their_order(tables):
    log = RecDataset.from_frames(**tables).interactions
    assert log["timestamp"].tolist() == [0, 1, 1, 5]
    assert log["user_id"].tolist() == [20, 10, 20, 10], "rows 1 and 2 share their second and must stay in this order"
    assert log.index.equals(pd.RangeIndex(4))
    kinds = {"user_id": "int64", "item_id": "int64", "timestamp": "int64", "rating": "float64", "label": "int64"}
    assert log.dtypes.astype(str).to_dict() == kinds


def test_many_ties_keep_their_order_too(tables):
    """Four rows are sorted stably by any method; a few thousand are not."""
    items = pd.DataFrame({"item_id": range(4000), "title": "a"})
    log = tables["interactions"].loc[np.tile(range(4), 1000)].assign(item_id=range(4000), rating=np.arange(4000))
    sorted_log = RecDataset.from_frames(items, None, log).interactions
    assert all(rows["rating"].is_monotonic_increasing for _, rows in sorted_log.groupby("timestamp"))


def test_optimum_follows_its_row_through_the_sort_and_through_replace(tables):
    ds = RecDataset.from_frames(**tables, optimum=[0.5, 0.1, 0.2, 0.0])
    assert ds.optimum.tolist() == [0.0, 0.1, 0.2, 0.5]
    assert dataclasses.replace(ds, name="again").optimum.tolist() == [0.0, 0.1, 0.2, 0.5]


@pytest.mark.parametrize("optimum", [[0.5], [0.5, 0.1, 0.2, 1.2], [0.5, 0.1, 0.2, np.nan], ["a", "b", "c", "d"], 0.5])
def test_an_optimum_that_is_no_probability_per_row_is_refused(tables, optimum):
    with pytest.raises(DataError, match="optimum"):
        RecDataset.from_frames(**tables, optimum=optimum)


def test_the_frames_are_copies_down_to_the_tags(tables):
    ds = RecDataset.from_frames(**tables)
    tables["items"].loc[0, "title"] = "changed"
    tables["items"]["tags"][0].append("changed")
    tables["interactions"].loc[:, "label"] = 0
    assert ds.items.loc[1, "title"] == "a" and ds.items.loc[1, "tags"] == ["x"] and ds.interactions["label"].sum() == 2


CELLS = [
    ("items", "item_id", 1, 1, "stands twice"),
    ("items", "item_id", 1, 2.5, "is not an id"),
    ("items", "item_id", 1, True, "is not an id"),
    ("items", "item_id", 1, None, "is not an id"),
    ("items", "item_id", 1, (2,), "is not an id"),
    ("items", "item_id", 1, "2", "is not an id"),
    ("items", "title", 2, None, "is not text"),
    ("items", "title", 2, 1984, "is not text"),
    ("items", "tags", 0, "x|y", "is not a list of str"),
    ("items", "tags", 0, ["x", 3], "is not a list of str"),
    ("items", "tags", 0, np.nan, "is not a list of str"),
    ("users", "user_id", 1, 10, "stands twice"),
    ("interactions", "item_id", 2, 99, "is not in the table items"),
    ("interactions", "user_id", 3, 99, "is not in the table users"),
    ("interactions", "user_id", 3, [20], "is not an id"),
    ("interactions", "label", 1, np.nan, "is not 0 or 1"),
    ("interactions", "label", 1, 2, "is not 0 or 1"),
    ("interactions", "label", 1, "yes", "is not 0 or 1"),
    ("interactions", "timestamp", 2, -1, "is not a time"),
    ("interactions", "timestamp", 2, np.inf, "is not a time"),
    ("interactions", "timestamp", 2, [1], "is not a time"),
    ("interactions", "rating", 0, np.nan, "is not a finite number"),
    ("interactions", "rating", 0, np.inf, "is not a finite number"),
]


@pytest.mark.parametrize(("table", "column", "row", "value", "what"), CELLS)
def test_one_bad_cell_is_named_with_table_column_row_value_and_remedy(tables, table, column, row, value, what):
    RecDataset.from_frames(**tables)  # good before
    with pytest.raises(DataError) as caught:
        RecDataset.from_frames(**broken(tables, table, column, row, value))
    error = caught.value
    assert what in error.what and f"table {table}, column {column}" in error.where
    assert f"(position {row})" in error.where and error.expected and error.remedy
    missing = np.ndim(value) == 0 and pd.isna(value) and (error.found is None or pd.isna(error.found))
    assert missing or error.found == value


@pytest.mark.parametrize(("table", "column"), [("items", "title"), ("items", "item_id"), ("users", "user_id")])
@pytest.mark.parametrize("wrong_name", [True, False])
def test_a_missing_column_is_named_and_a_near_name_proposed(tables, table, column, wrong_name):
    frame = tables[table]
    frame = frame.rename(columns={column: column + "s"}) if wrong_name else frame.drop(columns=column)
    with pytest.raises(DataError, match=f"{table} has no column '{column}'") as caught:
        RecDataset.from_frames(**tables | {table: frame})
    assert (f"rename '{column}s'" in caught.value.remedy) == wrong_name


def test_every_column_of_the_log_is_required_by_the_constructor(tables):
    ds = RecDataset.from_frames(**tables)
    for column in ds.interactions:
        with pytest.raises(DataError, match=f"no column '{column}'"):
            dataclasses.replace(ds, interactions=ds.interactions.drop(columns=column))


def test_an_index_without_its_name_does_not_pass_for_ids(tables):
    with pytest.raises(DataError, match="no column 'item_id'"):
        RecDataset.from_frames(**tables | {"items": tables["items"].drop(columns="item_id")})


@pytest.mark.parametrize("table", ["items", "users", "interactions"])
def test_an_empty_table_and_a_thing_that_is_no_table_are_refused(tables, table):
    with pytest.raises(DataError, match=f"{table} is empty"):
        RecDataset.from_frames(**tables | {table: tables[table][:0]})
    with pytest.raises(DataError, match=f"{table} is not a table"):
        RecDataset.from_frames(**tables | {table: [1, 2]})


def test_a_column_that_stands_twice_is_refused(tables):
    twice = pd.concat([tables["items"], tables["items"][["title"]]], axis=1)
    with pytest.raises(DataError, match="column twice"):
        RecDataset.from_frames(**tables | {"items": twice})


def test_no_log_is_said_with_none_and_survives_replace_but_a_lost_log_is_an_error(tables):
    bare = RecDataset.from_frames(**tables | {"interactions": None})
    again = dataclasses.replace(pickle.loads(pickle.dumps(bare)), name="again")
    assert len(again.interactions) == 0 and "label" in again.interactions
    ds = RecDataset.from_frames(**tables)
    with pytest.raises(DataError, match="interactions is empty"):
        dataclasses.replace(ds, interactions=ds.interactions.query("rating > 9"))
    assert len(dataclasses.replace(bare, interactions=ds.interactions).interactions) == 4


def test_ids_of_another_type_are_told_apart_from_unknown_ids(tables):
    log = tables["interactions"].assign(item_id=tables["interactions"]["item_id"].astype(str))
    with pytest.raises(DataError, match="another type") as caught:
        RecDataset.from_frames(**tables | {"interactions": log})
    assert "astype(int)" in caught.value.remedy and caught.value.found == ["1", "2", "2"]


@pytest.mark.parametrize("kind", ["category", "int32", "uint8", "Int64", object])
def test_ids_end_as_plain_int64(tables, kind):
    frames = {name: frame.copy() for name, frame in tables.items()}
    for frame in frames.values():
        for column in {"item_id", "user_id"} & set(frame):
            frame[column] = frame[column].astype(kind)
    ds = RecDataset.from_frames(**frames)
    assert ds.items.index.dtype == ds.users.index.dtype == ds.interactions["item_id"].dtype == "int64"
    assert json.loads(json.dumps(ds.items.index.tolist())) == ds.items.index.tolist()


def test_ids_too_long_for_int64_are_refused_rather_than_wrapped(tables):
    huge = tables["items"].assign(item_id=np.array([1, 2, 2**63 + 5], dtype="uint64"))
    with pytest.raises(DataError, match="too long"):
        RecDataset.from_frames(**tables | {"items": huge})


def test_several_faults_of_a_table_come_in_one_message(tables):
    log = tables["interactions"].assign(label=3, timestamp=-1)
    with pytest.raises(DataError) as caught:
        RecDataset.from_frames(**tables | {"interactions": log})
    assert "timestamp is not a time in 4 rows" in caught.value.what
    assert "label is not 0 or 1 in 4 rows" in caught.value.what


def test_a_million_bad_rows_give_a_short_message_soon(tables):
    log = tables["interactions"].loc[np.tile(range(4), 250_000)].assign(label=2, rating=np.nan)
    start = time.perf_counter()
    with pytest.raises(DataError) as caught:
        RecDataset.from_frames(**tables | {"interactions": log})
    assert time.perf_counter() - start < 20, "measured: under a second"
    assert "999,997 more" in caught.value.where and len(str(caught.value)) < 2000


def test_what_from_frames_fills_in(tables):
    log = tables["interactions"]
    bare_items, bare_log = tables["items"].drop(columns="tags"), log.drop(columns=["label", "timestamp"])
    ds = RecDataset.from_frames(bare_items, None, bare_log, like_at=2)
    assert ds.items["tags"].tolist() == [[], [], []] and ds.users.index.tolist() == [10, 20]
    assert ds.interactions["timestamp"].tolist() == [0, 1, 2, 3] and ds.interactions["label"].tolist() == [1, 1, 1, 0]
    bought = RecDataset.from_frames(tables["items"], tables["users"], log.drop(columns="rating"))
    assert bought.interactions["rating"].tolist() == bought.interactions["label"].tolist() == [0, 0, 1, 1]


def test_ids_may_be_the_index_and_extra_columns_stay(tables):
    ds = RecDataset.from_frames(**tables | {"items": tables["items"].set_index("item_id").assign(price=3)})
    assert ds.items["price"].tolist() == [3, 3, 3] and ds.users.loc[20, "age"] == 40


def test_triples_need_three_complete_columns(tables):
    triples = pd.DataFrame({"head": ["a", "b"], "relation": ["r", "r"], "tail": ["b", None]})
    with pytest.raises(DataError, match="tail is missing"):
        RecDataset.from_frames(**tables, triples=triples)
    assert len(RecDataset.from_frames(**tables, triples=triples[:1]).triples) == 1


def test_chosen_rows(tables):
    by_row, by_label = (RecDataset.from_frames(**tables, chosen_by=by) for by in ("row", "label"))
    log = by_row.interactions
    assert by_row.chosen(log).equals(log)
    assert by_label.chosen(log).index.tolist() == [2, 3]
    with pytest.raises(klm.ConfigError, match="chosen_by"):
        RecDataset.from_frames(**tables, chosen_by="rating")


CSV = {
    "items": 'item_id,title,tags\n1,"A, with\na break",x|y\n2,NA,\n',
    "users": "user_id,age\n7,30\n8,\n",
    "interactions": "user_id,item_id,label\n7,1,1\n\n8,2,0\n",
}


def folder_of(path, **files):
    for name, text in (CSV | files).items():
        if text is not None:
            (path / f"{name}.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_csv_folder(tmp_path):
    ds = RecDataset.from_csv(folder_of(tmp_path, users="\ufeff" + CSV["users"]))  # Excel writes that mark
    assert ds.items["title"].tolist() == ["A, with\na break", "NA"] and ds.items["tags"].tolist() == [["x", "y"], []]
    assert ds.items.index.dtype == "int64" and ds.name == tmp_path.name


def test_csv_ids_with_leading_zeros_stay_text_everywhere(tmp_path):
    items, log = CSV["items"].replace("\n2,", "\n007,"), CSV["interactions"].replace("8,2", "8,007")
    ds = RecDataset.from_csv(folder_of(tmp_path, items=items, interactions=log))
    assert ds.items.index.tolist() == ["1", "007"] and ds.interactions["item_id"].tolist() == ["1", "007"]
    assert ds.users.index.dtype == "int64"


@pytest.mark.parametrize(
    ("files", "where"),
    [
        ({"interactions": CSV["interactions"].replace("2,0", "2,7")}, "interactions.csv, line 4"),  # after a blank line
        ({"interactions": CSV["interactions"].replace("8,2", "8,")}, "interactions.csv, line 4"),
        ({"items": CSV["items"] + "1,again,\n"}, "items.csv, line 5"),  # after a field with a line break
        ({"interactions": CSV["interactions"].replace("item_id", "items")}, "interactions.csv"),
        ({"interactions": "user_id,item_id,label\n"}, "interactions.csv"),
        ({"users": None}, "users.csv"),
        ({"users": ""}, "users.csv"),
        ({"items": b"item_id,title\n1,\xff\n"}, "items.csv"),
        ({"items": "item_id,title\n1,A, b\n2,c\n"}, "items.csv"),  # unquoted comma: would shift the columns
        ({"items": "item_id,title\n1,A\n2,b, c\n"}, "items.csv"),
    ],
)
def test_csv_errors_name_file_and_line(tmp_path, files, where):
    with pytest.raises(DataError) as caught:
        RecDataset.from_csv(folder_of(tmp_path, **files))
    assert where in caught.value.where.split("/")[-1]


def test_an_option_that_from_frames_has_not(tables):
    with pytest.raises(klm.ConfigError, match="no option 'licence'") as caught:
        RecDataset.from_frames(**tables, licence="MIT")
    assert "license" in caught.value.expected and "like_at" in caught.value.expected


@pytest.mark.parametrize("chosen_by", [None, 1, np.array([1, 2])])
def test_chosen_by_of_a_wrong_kind(tables, chosen_by):
    with pytest.raises(klm.ConfigError, match="chosen_by"):
        RecDataset.from_frames(**tables, chosen_by=chosen_by)
