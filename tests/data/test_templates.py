import doctest

import pandas as pd
import pytest

import klm_utils as klm
from klm_utils.data import templates
from klm_utils.data.templates import item_text, item_texts, user_text

NA = float("nan")


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"title": "Toy Story", "year": 1995, "tags": ["Animation", "Comedy"]}, "Toy Story (1995). Animation, Comedy."),
        ({"title": "Toy Story", "year": 1995.0, "tags": []}, "Toy Story (1995)."),
        ({"title": "Toy Story", "year": NA, "tags": ["Comedy"]}, "Toy Story. Comedy."),
        ({"title": "Toy Story", "year": pd.NA, "tags": NA}, "Toy Story."),
        ({"title": "", "year": None, "tags": ["Comedy", "", None]}, "Comedy."),
        ({"title": "  a \n b ", "tags": None}, "a b."),
        ({"title": "小米手机", "tags": ["手机", "数码"]}, "小米手机. 手机, 数码."),
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
    assert texts[266] == "unkonwn. unknown." and texts[1411].endswith("(1995). Animation, Children's.")


def test_user_texts(movielens):
    assert user_text(movielens.users.loc[1]) == "24, male, technician"
    assert user_text(klm.load_dataset("article").users.loc[1]) == "25, male, interests: 篮球, 电影, 科技"
    assert user_text({"age": NA, "gender": None}) == ""


def test_the_example_in_the_docstring():
    assert doctest.testmod(templates).failed == 0
