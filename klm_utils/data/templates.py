"""A row of domain knowledge as a text that a language model reads."""

import re
from collections.abc import Mapping

import pandas as pd

from klm_utils.data.schema import RecDataset

# catalogues sort "Godfather, The"; nobody writes it so
_ARTICLE_LAST = re.compile(r"^(.+?), (The|An?|Las?|Les?|Los|El|Il|Das|Der|Die)(?= \(|$)")
_WORDS = {"M": "male", "F": "female"}  # MovieLens's letters


def item_text(row: Mapping | pd.Series) -> str:
    """Title, year and tags of an item: "Toy Story (1995). Animation, Children's, Comedy."; what is missing is left out.

    >>> item_text({"title": "Godfather, The", "year": 1972, "tags": ["Crime"]})
    'The Godfather (1972). Crime.'
    """
    title = _ARTICLE_LAST.sub(r"\2 \1", _text(row.get("title")))
    year, tags = _text(row.get("year")), ", ".join(_listed(row.get("tags")))
    head = " ".join(part for part in (title, f"({year})" if year else "") if part)
    return " ".join(f"{part}." for part in (head, tags) if part)


def item_texts(ds: RecDataset) -> list[str]:
    """`item_text` of every item, in the order of `ds.items`."""
    return [item_text(row) for row in ds.items.to_dict("records")]


def user_text(row: Mapping | pd.Series) -> str:
    """Age, gender, occupation and interests of a user: "25, male, student, interests: film, music"; gaps left out."""
    parts = [_text(row.get(field)) for field in ("age", "gender", "occupation")]
    parts = [_WORDS.get(part, part) for part in parts if part]
    if interests := ", ".join(_listed(row.get("interests"))):
        parts.append(f"interests: {interests}")
    return ", ".join(parts)


def _listed(value) -> list[str]:
    """The texts of a list; a lone str is a list of one, a missing value none."""
    values = value if isinstance(value, list | tuple) else [value]
    return [text for text in map(_text, values) if text]


def _text(value) -> str:
    """The value as text on one line, "" for a missing one; 1995.0 is 1995."""
    if pd.isna(value):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return " ".join(str(value).split())
