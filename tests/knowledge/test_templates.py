import doctest
import re
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import klm_utils as klm
from klm_utils.knowledge import templates
from klm_utils.knowledge.templates import facts_text, item_text, item_texts, user_text, user_texts

NA = float("nan")
FIELDS = ("title", "year", "tags", "description", "brand", "category", "price")
ITEM = {
    "title": "小米手机",
    "year": 2024,
    "tags": ["手机", "数码"],
    "description": "屏幕很大。",
    "brand": "小米",
    "category": "电子产品",
    "price": 129.0,
}
USER = {"age": 25, "gender": "male", "occupation": "学生", "city_tier": 1, "interests": ["篮球", "电影", "科技"]}
GAPS = re.compile(  # a missing value in words, a double or outer space, an empty bracket or clause, a doubled stop
    r"\b(nan|None|NaT)\b|<NA>|  |^ | $|\(\)|（年）"
    r"|^[.,。，、:：]|[:：,，、(（] ?[.。)）,，、]|[.。] ?[.。,，]|[:：,，、(]$"
)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"title": "Toy Story", "year": 1995, "tags": ["Animation", "Comedy"]}, "Toy Story (1995). Animation, Comedy."),
        ({"title": "Toy Story", "year": 1995.0, "tags": []}, "Toy Story (1995)."),
        ({"title": "Toy Story", "year": NA, "tags": ["Comedy"]}, "Toy Story. Comedy."),
        ({"title": "Toy Story", "year": pd.NA, "tags": NA}, "Toy Story."),
        ({"title": "", "year": None, "tags": ["Comedy", "", None]}, "Comedy."),
        ({"title": "  a \n b ", "tags": None}, "a b."),
        ({"title": "小米手机", "tags": ["手机", "数码"]}, "小米手机。标签：手机、数码。"),
        ({"title": "Mars Attacks!", "tags": ["Sci-Fi"]}, "Mars Attacks!. Sci-Fi."),
        ({}, ""),
    ],
)
def test_missing_fields_leave_nothing_behind(row, text):
    assert item_text(row) == text
    assert item_text(pd.Series(row, dtype=object)) == text


@pytest.mark.parametrize(
    ("title", "text"),
    [
        ("Godfather, The", "The Godfather."),
        ("Misérables, Les", "Les Misérables."),
        ("Horseman on the Roof, The (Hussard sur le toit, Le)", "The Horseman on the Roof (Hussard sur le toit, Le)."),
        ("Paris, Texas", "Paris, Texas."),
        ("Cry, the Beloved Country", "Cry, the Beloved Country."),
        ("Sex, Lies, and Videotape", "Sex, Lies, and Videotape."),
        ("Theory, Them", "Theory, Them."),
    ],
)
def test_the_article_moves_to_the_front_and_nothing_else_does(title, text):
    assert item_text({"title": title}) == text


def test_texts_come_in_the_order_of_the_items(movielens):
    texts = item_texts(movielens)
    assert len(texts) == 1682 and texts[0] == "Toy Story (1995). Animation, Children's, Comedy."
    for text in texts:
        assert "nan" not in text.lower().split() and "<NA>" not in text and "()" not in text and "  " not in text
    assert texts == item_texts(movielens, "en"), "no film has a Chinese character"
    assert texts[266] == "unkonwn. unknown." and texts[1411].endswith("(1995). Animation, Children's.")


def test_user_texts(movielens):
    assert user_text(movielens.users.loc[1]) == "24, male, technician"
    article = klm.load_dataset("article")
    assert user_text(article.users.loc[1]) == "25岁，男，兴趣：篮球、电影、科技"
    assert user_text(article.users.loc[1], "en") == "25, male, interests: 篮球, 电影, 科技"
    assert item_texts(article)[0] == "小米手机。标签：手机、数码、电子产品。"
    assert item_texts(article, "en", ("title",))[0] == "小米手机."
    assert user_text({"age": NA, "gender": None}) == ""


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("zh", "小米手机（2024年）。标签：手机、数码。屏幕很大。品牌：小米。分类：电子产品。价格：129元。"),
        ("en", "小米手机 (2024). 手机, 数码. 屏幕很大。 Brand: 小米. Category: 电子产品. Price: 129 yuan."),
    ],
)
def test_an_item_with_everything(language, text):
    assert item_text(ITEM, language, FIELDS) == text
    assert item_text(ITEM | {"price": np.float32(129), "year": "2024"}, language, FIELDS) == text


def test_a_user_with_everything():
    assert user_text(USER) == "25岁，男，职业：学生，一线城市，兴趣：篮球、电影、科技"
    assert user_text(USER, "en") == "25, male, 学生, city tier 1, interests: 篮球, 电影, 科技"
    for tier, word in {2: "二线城市", 3.0: "三线城市", "4": "四线城市"}.items():
        assert user_text({"city_tier": tier}, "zh") == word


@pytest.mark.parametrize("word", ["male", "M", "男", "female", "F", "女"])
def test_gender_in_the_language(word):
    man = word in ("male", "M", "男")
    assert user_text({"gender": word}, "en") == ("male" if man else "female")
    assert user_text({"gender": word}, "zh") == ("男" if man else "女")
    assert user_text({"occupation": "M"}, "en") == "M"


@pytest.mark.parametrize(
    "bad", ["a  b", "a. .", "a (nan).", "a. Brand: .", "a。。", "标签：。", "a, ", "a（年）。", "25岁，，男", ""]
)
def test_the_search_for_gaps_finds_them(bad):
    assert bool(GAPS.search(bad)) == bool(bad)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("missing", [None, NA, pd.NA, pd.NaT, "", "  ", [], [None, ""]])
def test_every_combination_of_gaps(language, missing):
    for there in product([True, False], repeat=len(FIELDS)):
        row = {field: ITEM[field] if kept else missing for field, kept in zip(FIELDS, there, strict=True)}
        text = item_text(row, language, FIELDS)
        assert not GAPS.search(text), text
        assert text == item_text(
            {field: row[field] for field, kept in zip(FIELDS, there, strict=True) if kept}, language, FIELDS
        )
        for field, kept in zip(FIELDS, there, strict=True):
            facts = ITEM[field] if field == "tags" else ["129" if field == "price" else str(ITEM[field])]
            assert not kept or all(fact in text for fact in facts)
    for there in product([True, False], repeat=len(USER)):
        row = {field: USER[field] if kept else missing for field, kept in zip(USER, there, strict=True)}
        text = user_text(row, language)
        assert not GAPS.search(text), text
        assert ("25" in text, "学生" in text, "城市" in text or "tier" in text, "科技" in text) == (
            there[0],
            *there[2:],
        )


@settings(max_examples=200, deadline=None)
@given(
    st.fixed_dictionaries({f: st.lists(TEXTS, max_size=3) if f == "tags" else st.none() | TEXTS for f in FIELDS}),
    st.sampled_from([None, "en", "zh"]),
    st.permutations(FIELDS),
)
def test_every_value_is_in_the_text_on_one_line(row, language, fields):
    text = item_text(row, language, tuple(fields))
    assert len(text.splitlines()) <= 1
    for value in [*row.pop("tags"), *row.values()]:
        assert " ".join((value or "").split()) in text


def test_line_breaks_are_flattened():
    row = {"title": "a\r\nb", "description": "one\n\ntwo!", "tags": ["x\u2028y"], "brand": "b\t c"}
    assert item_text(row, "en", FIELDS) == "a b. x y. one two! Brand: b c."
    assert user_text({"occupation": "a\nb", "interests": ["c\nd"]}) == "a b, interests: c d"


def test_the_order_is_that_of_the_fields_and_the_year_goes_with_the_title():
    assert item_text(ITEM, "zh", ("brand", "year", "title")) == "品牌：小米。小米手机（2024年）。"
    assert item_text(ITEM, "en", ("year", "brand")) == "(2024). Brand: 小米."
    assert item_text(ITEM, "en", ()) == ""


@pytest.mark.parametrize(
    ("row", "language"),
    [
        ({"title": "小米 phone"}, "zh"),
        ({"title": "phone", "tags": ["new", "手机"]}, "zh"),
        ({"title": "𠮷野"}, "zh"),
        ({"title": "phone", "brand": "小米"}, "en"),
        ({"title": "Émile, アニメ, 한국", "tags": ["。"]}, "en"),
        ({}, "en"),
    ],
)
def test_the_language_is_that_of_title_and_tags(row, language):
    assert item_text(row, fields=FIELDS) == item_text(row, language, FIELDS)
    assert item_text(row | {"year": 1}, fields=FIELDS) != item_text(
        row | {"year": 1}, {"zh": "en", "en": "zh"}[language], FIELDS
    )


@pytest.mark.parametrize("row", [{"gender": "男"}, {"occupation": "学生"}, {"interests": ["film", "音乐"]}])
def test_the_language_of_a_user(row):
    assert user_text(row | {"age": 25}).startswith("25岁，")
    assert user_text({"age": 25, "gender": "male", "city": "北京"}) == "25, male"


@pytest.mark.parametrize("language", ["", "cn", "EN", 1, ["zh"]])
def test_unknown_language(language):
    for text in (item_text, user_text):
        with pytest.raises(klm.ConfigError, match="Unknown language"):
            text({}, language)


def books(**columns):
    items = pd.DataFrame({"item_id": [1, 2], "title": ["Emma", "Dune"], "tags": [["novel"], []], **columns})
    log = pd.DataFrame({"user_id": [1], "item_id": [1], "timestamp": [0], "rating": [1.0], "label": [1]})
    return klm.RecDataset.from_frames(items, pd.DataFrame({"user_id": [1]}), log)


def test_any_column_may_be_named():
    ds = books(
        publisher=["Penguin", None],
        release_date=[1815.0, NA],
        awards=pd.Series([("A", "B"), np.array(["C"])]),
        **{"size {cm}": ["18 x 11.", "20 x 13"]},
    )
    emma, dune = item_texts(ds, fields=("title", "publisher", "release_date", "awards", "size {cm}"))
    assert emma == "Emma. Publisher: Penguin. Release date: 1815. Awards: A, B. Size {cm}: 18 x 11."
    assert dune == "Dune. Awards: C. Size {cm}: 20 x 13."
    assert item_texts(books(出版社=["企鹅", None]), "zh", ("title", "出版社")) == ["Emma。出版社：企鹅。", "Dune。"]


@pytest.mark.parametrize(
    ("fields", "near"),
    [(("title", "publishr"), "'publisher'"), (("Tags",), "'tags'"), (("colour",), "name columns"), ((None,), "name")],
)
def test_a_field_that_is_no_column_is_refused_with_what_it_may_mean(fields, near):
    ds = books(publisher=["Penguin", "Ace"])
    for text in (lambda: item_texts(ds, None, fields), lambda: item_text(ds.items.loc[1], None, fields)):
        with pytest.raises(klm.DataError, match="no such column") as caught:
            text()
        assert near in caught.value.remedy and "title, tags, publisher" in caught.value.expected


def test_a_field_that_is_named_is_read_or_refused_and_the_usual_ones_need_not_be_there():
    ds = books()
    assert "year" not in ds.items and item_texts(ds) == ["Emma. novel.", "Dune."]
    with pytest.raises(klm.DataError, match="description"):
        item_texts(ds, fields=("title", "description"))


@pytest.mark.parametrize("wrong", [None, "title", 3, ["title"]])
def test_what_is_no_row_and_what_is_no_data_set(wrong):
    for text in (item_text, user_text, item_texts, user_texts):
        with pytest.raises(klm.ConfigError, match="wrong kind"):
            text(wrong)


@pytest.mark.parametrize("fields", [None, "title"])
def test_fields_that_are_no_list(fields):
    with pytest.raises(klm.ConfigError, match="fields"):
        item_text(ITEM, None, fields)


def test_facts_as_text():
    facts = [("brand", "Oakbay"), ("madeOf", "wood"), ("isA", "chair")]
    assert facts_text(facts) == "Brand: Oakbay. MadeOf: wood. A kind of: chair."
    assert facts_text(facts, "zh") == "品牌：Oakbay。MadeOf：wood。属于：chair。"
    assert facts_text([("year", 1995), ("brand", " "), ("isA", None)]) == "Year: 1995."
    assert facts_text([]) == "" and facts_text([("country", "中国")]) == "产地：中国。"


def test_users_in_their_order():
    users = klm.load_dataset("article").users
    assert user_texts(klm.load_dataset("article")) == [user_text(row) for _, row in users.iterrows()]


def test_the_example_in_the_docstring():
    assert doctest.testmod(templates).failed == 0
