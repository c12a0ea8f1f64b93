"""CSV files as people have them: written by to_csv, joined by commas, in another encoding."""

import json
import warnings

import pandas as pd
import pytest

import klm_utils as klm
from klm_utils import DataError, RecDataset
from klm_utils.data.csv_folder import text_list
from klm_utils.data.features import item_features

CSV = {
    "items": "item_id,title,tags\n1,A,x|y\n2,B,\n",
    "users": "user_id,age\n7,30\n8,\n",
    "interactions": "user_id,item_id,label\n7,1,1\n8,2,0\n",
}


def read(path, **files):
    for name, text in (CSV | files).items():
        (path / f"{name}.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return RecDataset.from_csv(path)


def refused(path, match, **files):
    with pytest.raises(DataError, match=match) as caught:
        read(path, **files)
    return caught.value


def tags_of(path, *cells):
    rows = [f'{i},t{i},"{cell}"' for i, cell in enumerate(cells, 1)]
    return read(path, items="\n".join(["item_id,title,tags", *rows])).items["tags"].tolist()


@pytest.mark.parametrize("name", ["shop", "movielens-100k", "article"])
@pytest.mark.parametrize("index", [True, False])
def test_what_to_csv_wrote_from_csv_reads(tmp_path, name, index):
    """Tags, interests and sequences come back as lists; the row number that to_csv adds does not come along."""
    ds = klm.load_dataset(name)
    log = ds.interactions[:2000] if len(ds.interactions) else pd.DataFrame({"user_id": [1], "item_id": [2], "label": 1})
    for table, frame in (("items", ds.items), ("users", ds.users)):
        (frame if index else frame.reset_index()).to_csv(tmp_path / f"{table}.csv", index=index)
    log.to_csv(tmp_path / "interactions.csv", index=index)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        again = RecDataset.from_csv(tmp_path)
    assert [str(w.message).split(":")[0] for w in said] == ["interactions"] * index
    assert again.items["tags"].tolist() == ds.items["tags"].tolist()
    for column in {"interests", "sequence"} & set(ds.users):
        assert again.users[column].tolist() == ds.users[column].tolist()
    assert list(again.items) == list(ds.items) and list(again.users) == list(ds.users)
    assert again.items["title"].tolist() == ds.items["title"].tolist()
    assert set(again.interactions) == set(log) | {"rating", "timestamp", "label"}


LISTS = [
    [],
    ["a"],
    ["a", "b"],
    ["Children's", 'say "a"'],
    ['it\'s "so"', "\\n", "a\nb"],
    ["手机", "\u200b"],
    ["a|b, c"],
]
NO_LISTS = [
    "['a' 'b']",
    "['a', nan]",
    "['a', 1]",
    "[1]",
    "['a'",
    "['a'].pop()+['b']",
    "{'a': 1}",
    "[OC]",
    "['a', " * 9999,
]


@pytest.mark.parametrize("tags", LISTS)
def test_a_list_is_read_back_from_its_text(tags):
    for text in (str(tags), json.dumps(tags), json.dumps(tags, ensure_ascii=False)):
        assert text_list(text) == tags


@pytest.mark.parametrize("text", NO_LISTS)
def test_a_text_that_is_no_list_of_str_is_none(text):
    """The text of an array would be read as one joined word."""
    assert text_list(text) is None


def test_tags_in_their_three_writings(tmp_path):
    assert tags_of(tmp_path, "x|y", "", "['a', 'b']") == [["x", "y"], [], ["a", "b"]]
    assert tags_of(tmp_path, "Clothing, Shoes|Men", "Toys, Games") == [["Clothing, Shoes", "Men"], ["Toys, Games"]]
    assert tags_of(tmp_path, "Toys, Games|", "Toys|") == [["Toys, Games"], ["Toys"]], (
        "the way out that the message names"
    )
    assert tags_of(tmp_path, "[OC]", "rock") == [["[OC]"], ["rock"]]


@pytest.mark.parametrize("cell", ["x, y", "x;y", "手机、数码", "手机，数码", "['a' 'b']", "['a', nan]", "('a', 1)"])
def test_tags_that_something_else_separates_are_refused_with_their_line(tmp_path, cell):
    with pytest.raises(DataError, match=r"not separated by \|") as caught:
        tags_of(tmp_path, "rock", cell)
    error = caught.value
    assert error.where.endswith("items.csv, line 3") and error.found == cell and "|" in error.remedy


@pytest.mark.parametrize("other", ["rock", "x|y"])
def test_tags_that_are_tuples_are_lists_and_never_one_tag(tmp_path, other):
    tuples = [(), ("a",), ("a", "b"), ("it's", 'a "b"')]
    cells = [str(tags).replace('"', '""') for tags in tuples]
    assert tags_of(tmp_path, other, *cells) == [other.split("|"), *map(list, tuples)]
    for cell in ("('a' 'b')", "('a', nan)", "['a', nan]"):
        with pytest.raises(DataError, match="not separated by") as caught:
            tags_of(tmp_path, other, cell)
        assert caught.value.found == cell


def test_an_empty_title_comes_back(tmp_path, tables):
    ds = RecDataset.from_frames(**tables | {"items": tables["items"].assign(title=["", "b", " "])})
    for name in ("items", "users", "interactions"):
        getattr(ds, name).to_csv(tmp_path / f"{name}.csv", index=name != "interactions")
    again = RecDataset.from_csv(tmp_path)
    assert again.items["title"].tolist() == ["", "b", " "]
    pd.testing.assert_frame_equal(again.items, ds.items, check_dtype=False)


def test_the_remedy_for_titles_that_are_placeholders_works_in_a_file_too(tmp_path, movielens):
    items = movielens.items.assign(title="N/A").drop(columns="year")
    movielens.users.to_csv(tmp_path / "users.csv")
    movielens.interactions.to_csv(tmp_path / "interactions.csv", index=False)
    items.to_csv(tmp_path / "items.csv")
    with pytest.raises(DataError, match="share one title") as caught:
        klm.split(RecDataset.from_csv(tmp_path), "cold_item")
    assert "'' where there is none" in caught.value.remedy
    items.assign(title="").to_csv(tmp_path / "items.csv")
    assert len(klm.split(RecDataset.from_csv(tmp_path), "cold_item").test)


def test_lists_of_users_are_lists_or_refused_with_their_line(tmp_path):
    users = "user_id,interests,note,tags\n7,\"['a', 'b']\",[x],\"['c']\"\n8,,plain,\n"
    ds = read(tmp_path, users=users)
    assert ds.users.loc[7, "tags"] == ["c"], "of users this is a column like any other"
    assert ds.users.loc[7, "interests"] == ["a", "b"] and pd.isna(ds.users.loc[8, "interests"])
    assert ds.users["note"].tolist() == ["[x]", "plain"], "a column of other texts stays as it is"
    error = refused(tmp_path, "interests is a list that cannot be read", users=users.replace("', '", "' '"))
    assert error.where.endswith("users.csv, line 2")


def test_a_row_number_is_no_feature(tmp_path, movielens):
    """A file in the order of sales would tell the label."""
    movielens.items[["title"]].reset_index().to_csv(tmp_path / "items.csv")
    movielens.users.to_csv(tmp_path / "users.csv")
    movielens.interactions.to_csv(tmp_path / "interactions.csv", index=False)
    with pytest.warns(UserWarning, match="items: the column 'Unnamed: 0' has no name"):
        ds = RecDataset.from_csv(tmp_path)
    assert item_features(klm.split(ds, "random"))[0].names == [], "ten buckets of the row number before"


@pytest.mark.parametrize(("table", "column"), [("items", "title"), ("users", "age"), ("interactions", "label")])
def test_a_column_twice_is_refused_by_file(tmp_path, table, column):
    """pandas calls the second one title.1."""
    lines = [f"{line},{column if i == 0 else 1}" for i, line in enumerate(CSV[table].splitlines())]
    error = refused(tmp_path, "has a column twice", **{table: "\n" + "\n".join(lines)})
    assert error.where.endswith(f"{table}.csv") and error.found == column


@pytest.mark.parametrize(("encoding", "line"), [("gbk", 3), ("latin-1", 3), ("utf-16", 1)])
def test_another_encoding_is_told_with_its_line(tmp_path, encoding, line):
    text = f"item_id,title\n1,A\n2,{'é' if encoding == 'latin-1' else '手机'}\n"
    error = refused(tmp_path, "not UTF-8", items=text.encode(encoding))
    assert error.where.endswith(f"items.csv, line {line}") and "save the file as UTF-8" in error.remedy
    assert read(tmp_path, items=text.encode("utf-8-sig")).items.shape == (2, 2)


def test_a_fault_in_a_file_with_an_endless_field_is_still_told(tmp_path):
    """The csv module reads fields of 131,072 characters at most, pandas any."""
    items = f"item_id,title\n1,{'x' * 200_000}\n2,b\n"
    assert len(read(tmp_path, items=items).items) == 2
    error = refused(tmp_path, "stands twice", items=items + "1,c\n")
    assert error.where.endswith("items.csv, row 3")


@pytest.mark.parametrize("folder", [None, 5, ["a"]])
def test_a_folder_that_is_no_path(folder):
    with pytest.raises(klm.ConfigError, match="from_csv"):
        RecDataset.from_csv(folder)


def test_a_path_that_cannot_be(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        RecDataset.from_csv(f"{tmp_path}/a\0b")


def test_thousands_of_columns_make_no_fragmented_frame(tmp_path):
    """One block per column made every later step slow, and pandas warn."""
    header, *rows = CSV["items"].split()
    wide = [header + "".join(f",c{n}" for n in range(3000)), *(row + ",1" * 3000 for row in rows)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(tmp_path, items="\n".join(wide)).items.shape == (2, 3002)
