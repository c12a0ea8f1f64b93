"""A row of domain knowledge as a text that a language model reads, in Chinese or English."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches

import numpy as np
import pandas as pd

from klm_utils.data.schema import RecDataset, title_text, value_text
from klm_utils.errors import DataError, check_choice, check_kind

FIELDS = ("title", "year", "tags")  # of an item, unless others are named
LANGUAGES = (None, "en", "zh")
_ITEM = {  # English and Chinese; any other column has its name before its value
    "title": ("{}", "{}"),
    "year": ("({})", "（{}年）"),
    "tags": ("{}", "标签：{}"),
    "description": ("{}", "{}"),
    "brand": ("Brand: {}", "品牌：{}"),
    "category": ("Category: {}", "分类：{}"),
    "price": ("Price: {} yuan", "价格：{}元"),
    "directors": ("Directed by {}", "导演：{}"),
    "writers": ("Written by {}", "编剧：{}"),
    "cast": ("With {}", "演员：{}"),
    "countries": ("Country: {}", "国家：{}"),
    "languages": ("Language: {}", "语言：{}"),
}
_USER = {  # the interests come last: what follows a list reads as part of it
    "age": ("{}", "{}岁"),
    "gender": ("{}", "{}"),
    "occupation": ("{}", "职业：{}"),
    "city_tier": ("city tier {}", "{}线城市"),
    "interests": ("interests: {}", "兴趣：{}"),
}
_RELATIONS = {
    "brand": ("Brand", "品牌"),
    "category": ("Category", "类别"),
    "usedFor": ("Used for", "用于"),
    "seasonOf": ("Season", "季节"),
    "country": ("Made in", "产地"),
    "isA": ("A kind of", "属于"),
    "complementOf": ("Goes with", "搭配"),
    "director": ("Directed by", "导演"),
    "writer": ("Written by", "编剧"),
    "actor": ("With", "演员"),
    "language": ("Language", "语言"),
}
_WORDS = {  # values that have a word of their own; M and F are MovieLens's
    ("en", "gender"): {"M": "male", "F": "female", "男": "male", "女": "female"},
    ("zh", "gender"): {"M": "男", "F": "女", "male": "男", "female": "女"},
    ("zh", "city_tier"): {"1": "一", "2": "二", "3": "三", "4": "四"},
}
_COMMA = {"en": ", ", "zh": "、"}  # within a list
_GAP, _STOP, _COLON = {"en": " ", "zh": ""}, {"en": ".", "zh": "。"}, {"en": ": ", "zh": "："}
_CLOSED = tuple(".!?…。！？")  # ends of a sentence
_IDEOGRAPH = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


def item_text(row: Mapping | pd.Series, language: str | None = None, fields: Sequence[str] = FIELDS) -> str:
    """An item as a few short sentences, in the order of `fields`; what is missing is left out.

    Args:
        row: of `ds.items`, or any mapping.
        language: of the words around the values, which stay as they are. None: Chinese if the title or a tag has a
            Chinese character, else English.
        fields: title, year (it goes with the title), tags, description, brand, category, price (yuan), directors,
            writers, cast, countries, languages, which have sentences of their own, and any other keys of the row
            ("Publisher: Penguin.").

    Raises:
        ConfigError: an unknown language; a row that is none.
        DataError: a field that is not in the row and has no sentence of its own.

    >>> item_text({"title": "Godfather, The", "year": 1972, "tags": ["Crime"]})
    'The Godfather (1972). Crime.'
    >>> item_text({"title": "小米手机", "tags": ["手机", "数码"], "price": 1299.0}, fields=("title", "tags", "price"))
    '小米手机。标签：手机、数码。价格：1299元。'
    >>> item_text({"title": "Emma", "publisher": "Penguin"}, fields=("title", "publisher"))
    'Emma. Publisher: Penguin.'
    """
    check_kind("item_text(row)", row, Mapping | pd.Series, "a row of ds.items or a dict", "ds.items.loc[item_id]")
    _check_fields("item_text(fields)", fields, [*row.keys(), *_ITEM])
    language = _language(row, language, ("title", "tags"))
    parts = _parts(row, language, fields, _ITEM)
    if "title" in parts and "year" in parts:
        parts["title"] += _GAP[language] + parts.pop("year")
    return _GAP[language].join(_sentence(part, field, language) for field, part in parts.items())


def item_texts(ds: RecDataset, language: str | None = None, fields: Sequence[str] | None = None) -> list[str]:
    """`item_text` of every item, in the order of `ds.items`.

    Args:
        ds: the data set.
        language: as in `item_text`, of each item by itself.
        fields: columns of `ds.items`, whichever; None: title, year and tags, as far as it has them.

    Raises:
        ConfigError: an unknown language; `ds` is no data set.
        DataError: a field that is no column.
    """
    check_kind("item_texts(ds)", ds, RecDataset, "a RecDataset", "klm.load_dataset or klm.RecDataset.from_frames")
    fields = fields_of(ds.items, fields, "item_texts(fields)")
    return [item_text(row, language, fields) for row in ds.items.to_dict("records")]


def fields_of(items: pd.DataFrame, fields: Sequence[str] | None, where: str) -> Sequence[str]:
    """The columns of a table of items that make up their texts: those named, or of `FIELDS` those that there are.

    Raises:
        ConfigError: no list of names.
        DataError: a name that is no column: what is to be read would be left out in silence.
    """
    if fields is None:
        return [field for field in FIELDS if field in items]
    _check_fields(where, fields, items.columns)
    return fields


def _check_fields(where: str, fields: Sequence[str], columns: Collection[str]) -> None:
    """Refuse a field that is none of the columns, and name those it may be meant for."""
    check_kind(where, fields, tuple | list, "a tuple of names, such as ('title', 'tags')")
    for field in fields:
        if field not in columns:
            names = list(dict.fromkeys(map(str, columns)))
            near = " or ".join(map(repr, get_close_matches(str(field), names)))
            remedy = f"did you mean {near}?" if near else "name columns of the table of items"
            raise DataError("no such column of the items", where, field, ", ".join(names), remedy)


def user_text(row: Mapping | pd.Series, language: str | None = None) -> str:
    """Age, gender, occupation, city tier (1 to 4) and interests of a user; what is missing is left out.

    Args:
        row: of `ds.users`, or any mapping.
        language: as in `item_text`; None looks at gender, occupation and interests.

    Raises:
        ConfigError: an unknown language; a row that is none.

    >>> user_text({"age": 24, "gender": "M", "occupation": "student", "interests": ["film", "music"]})
    '24, male, student, interests: film, music'
    >>> user_text({"age": 25, "gender": "male", "city_tier": 1, "interests": ["篮球", "电影"]})
    '25岁，男，一线城市，兴趣：篮球、电影'
    """
    check_kind("user_text(row)", row, Mapping | pd.Series, "a row of ds.users or a dict", "ds.users.loc[user_id]")
    language = _language(row, language, ("gender", "occupation", "interests"))
    return {"en": ", ", "zh": "，"}[language].join(_parts(row, language, _USER, _USER).values())


def user_texts(ds: RecDataset, language: str | None = None) -> list[str]:
    """`user_text` of every user, in the order of `ds.users`."""
    check_kind("user_texts(ds)", ds, RecDataset, "a RecDataset", "klm.load_dataset or klm.RecDataset.from_frames")
    return [user_text(row, language) for row in ds.users.to_dict("records")]


def facts_text(facts: Sequence[tuple[str, str]], language: str | None = None) -> str:
    """Facts of an item as a text: one sentence per relation, in the order of the facts.

    Args:
        facts: (relation, tail) pairs; see `klm_utils.knowledge.graph.facts`. A relation that has no word here is
            written as it is.
        language: as in `item_text`; None looks at the tails.

    >>> facts_text([("usedFor", "跑步"), ("brand", "小米"), ("usedFor", "健身")])
    '用于：跑步、健身。品牌：小米。'
    >>> facts_text([("usedFor", "running")])
    'Used for: running.'
    """
    language = _language({"tags": [tail for _, tail in facts]}, language, ("tags",))
    tails: dict[str, list[str]] = {}
    for relation, tail in facts:
        if text := value_text(tail):
            word = _RELATIONS[relation][language == "zh"] if relation in _RELATIONS else relation
            tails.setdefault(_label(word, language), []).append(text)
    return _GAP[language].join(label + _COMMA[language].join(of) + _STOP[language] for label, of in tails.items())


def _label(word: str, language: str) -> str:
    """A word as it stands before a value: "Used for: "."""
    return word[:1].upper() + word[1:] + _COLON[language]


def _language(row: Mapping | pd.Series, language: str | None, fields: tuple[str, ...]) -> str:
    """The language asked for, or that of the row's own words."""
    check_choice("language", language, LANGUAGES)
    words = " ".join(text for field in fields for text in _listed(row.get(field)))
    return language or ("zh" if _IDEOGRAPH.search(words) else "en")


def _parts(row: Mapping | pd.Series, language: str, fields: Iterable[str], templates: Mapping) -> dict[str, str]:
    """What there is of the fields of a row, in their templates; where there is none, behind the name of the field."""
    parts = {}
    for field in fields:
        known = _WORDS.get((language, field), {})
        if value := _COMMA[language].join(known.get(text, text) for text in _listed(row.get(field))):
            if field in templates:
                value = title_text(value) if field == "title" else value
                parts[field] = templates[field][language == "zh"].format(value)
            else:
                parts[field] = _label(str(field).replace("_", " "), language) + value
    return parts


def _sentence(part: str, field: str, language: str) -> str:
    """The part with a full stop, unless it ends a sentence by itself; an English title always gets one."""
    may_end = language == "zh" or field == "description" or field not in _ITEM
    return part if may_end and part.endswith(_CLOSED) else part + _STOP[language]


def _listed(value: object) -> list[str]:
    """The texts of a list; a lone str is a list of one, a missing value none."""
    values = value if isinstance(value, list | tuple | np.ndarray) else [value]
    return [text for text in map(value_text, values) if text]
