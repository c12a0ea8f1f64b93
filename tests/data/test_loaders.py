import tomllib
from pathlib import Path

import pytest

import klm_utils as klm
from klm_utils.data.movielens import read
from klm_utils.data.shipped import shipped

ROOT = Path(__file__).parents[2]


def test_movielens_is_whole(movielens):
    assert (len(movielens.items), len(movielens.users), len(movielens.interactions)) == (1682, 943, 100_000)
    assert len(movielens.triples) == 28_632 and list(movielens.triples) == ["head", "relation", "tail"]
    log = movielens.interactions
    assert (log["label"] == (log["rating"] >= 4)).all() and log["label"].sum() == 55_375
    assert log["timestamp"].is_monotonic_increasing and sorted(log["rating"].unique()) == [1, 2, 3, 4, 5]


def test_movielens_items(movielens):
    items = movielens.items
    assert items.loc[1, "title"] == "Toy Story" and items.loc[1, "tags"] == ["Animation", "Children's", "Comedy"]
    assert items.loc[1, "year"] == 1995
    assert items.index[items["year"].isna()].tolist() == [267, 1412], "their years read `unkonwn` and `V`"
    assert len({tag for tags in items["tags"] for tag in tags}) == 19, "18 genres and `unknown`"
    assert "Nénette et Boni" in items["title"].tolist()


def test_movielens_facts_the_course_relies_on(movielens):
    titles = movielens.items.groupby(["title", "year"]).size()
    assert (titles == 2).sum() == 18 and titles.max() == 2
    log = movielens.interactions
    assert log.duplicated(["user_id", "timestamp"], keep=False).mean() > 0.5, "half of the rows share their second"
    assert not log.duplicated(["user_id", "item_id"]).any()


def test_movielens_with_the_graph_that_is_linked_to_the_wrong_films(movielens):
    wrong = klm.load_dataset("movielens-100k-mislinked")
    assert len(wrong.triples) == 91_631 and wrong.items["entity"].notna().sum() == 1598 and not wrong.facts
    assert wrong.interactions.equals(movielens.interactions) and wrong.items["title"].equals(movielens.items["title"])
    assert klm.split(wrong, "cold_item", fold=3).test.equals(klm.split(movielens, "cold_item", fold=3).test)


def test_movielens_from_a_folder_without_its_files(tmp_path):
    with pytest.raises(klm.DataError, match=r"ml-100k\.item"):
        read(tmp_path)


def test_article_data_is_the_articles():
    ds = klm.load_dataset("article")
    assert ds.items["tags"].tolist() == [
        ["手机", "数码", "电子产品"],
        ["图书", "教育", "出版物"],
        ["运动", "健身", "户外用品"],
    ]
    assert ds.users["age"].tolist() == [25, 30, 35] and ds.users["gender"].tolist() == ["male", "female", "male"]
    assert ds.users.loc[2, "interests"] == ["烹饪", "旅游", "音乐"]
    assert [len(tags) for tags in ds.users["sequence"]] == [5, 5, 5]


def test_article_has_no_log_and_tags_of_no_item():
    """E3, E4, E14: sequences hold tags, some of no item; nobody meets an item."""
    ds = klm.load_dataset("article")
    item_tags = {tag for tags in ds.items["tags"] for tag in tags}
    assert "出版物" in item_tags
    of_no_item = {tag for tags in ds.users["sequence"] for tag in tags} - item_tags
    assert of_no_item == {"电影", "音乐", "旅游", "烹饪", "科技", "篮球"}
    assert ds.interactions.empty
    for name in ("random", "temporal", "cold_item", "cold_user"):
        with pytest.raises(klm.DataError, match="article has no interactions"):
            klm.split(ds, name)


@pytest.mark.parametrize(
    ("name", "near"), [("movielens100k", True), ("MovieLens-100K", True), ("shelf", False), (3, False), (["x"], False)]
)
def test_unknown_name(name, near):
    with pytest.raises(klm.ConfigError, match=r"'movielens-100k' or .* 'shop' or 'article'") as caught:
        klm.load_dataset(name)
    assert ("did you mean" in caught.value.remedy) == near


@pytest.mark.parametrize("name", ["movielens-100k", "shop", "article"])
def test_an_option_that_no_loader_has(name):
    with pytest.raises(klm.ConfigError, match="no option 'languge'") as caught:
        klm.load_dataset(name, languge="en")
    assert (caught.value.expected == "language") == (name == "shop")


def test_a_data_set_without_a_name():
    with pytest.raises(klm.ConfigError, match="no data set of this name"):
        klm.load_dataset(None)


@pytest.mark.parametrize("log", ["movielens-100k", "shop"])
def test_no_event_stands_twice_in_what_ships(log):
    log = klm.load_dataset(log).interactions
    assert not log.duplicated(["user_id", "item_id"]).any()


def test_shipped_files_are_found_and_a_missing_one_is_named():
    assert shipped("article/README.md").read_text(encoding="utf-8").startswith("# The article")
    with pytest.raises(klm.AssetError, match="no_such_file"):
        shipped("article/no_such_file.json")


def test_pyproject_lists_every_package_and_every_folder_of_data():
    """The list is written by hand because `find` cannot add data/; a folder left out would be missing in the wheel."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    code = [path.parent for path in ROOT.glob("klm_utils/**/*.py") if "__pycache__" not in path.parts]
    files = [path.parent.relative_to(ROOT / "data") for path in ROOT.glob("data/**/*") if path.is_file()]
    there = {".".join(path.relative_to(ROOT).parts) for path in code}
    there |= {".".join(["klm_utils", "shipped", *path.parts]) for path in files}
    assert there <= set(listed)
