"""A row of domain knowledge as a text that a language model reads, in Chinese or English."""

import re
from collections.abc import Mapping, Sequence

import pandas as pd

from klm_utils.data.schema import RecDataset, title_text, value_text
from klm_utils.errors import ConfigError, check_choice, check_kind

LANGUAGES = (None, "en", "zh")
_ITEM = {
    "en": {
        "title": "{}",
        "year": "({})",
        "tags": "{}",
        "description": "{}",
        "brand": "Brand: {}",
        "category": "Category: {}",
        "price": "Price: {} yuan",
    },
    "zh": {
        "title": "{}",
        "year": "（{}年）",
        "tags": "标签：{}",
        "description": "{}",
        "brand": "品牌：{}",
        "category": "分类：{}",
        "price": "价格：{}元",
    },
}
_USER = {  # the interests come last: what follows a list reads as part of it
    "en": {
        "age": "{}",
        "gender": "{}",
        "occupation": "{}",
        "city_tier": "city tier {}",
        "interests": "interests: {}",
    },
    "zh": {"age": "{}岁", "gender": "{}", "occupation": "职业：{}", "city_tier": "{}线城市", "interests": "兴趣：{}"},
}
_RELATIONS = {
    "en": {
        "brand": "brand",
        "category": "category",
        "usedFor": "used for",
        "seasonOf": "season",
        "country": "made in",
        "isA": "a kind of",
        "complementOf": "goes with",
    },
    "zh": {
        "brand": "品牌",
        "category": "类别",
        "usedFor": "用于",
        "seasonOf": "季节",
        "country": "产地",
        "isA": "属于",
        "complementOf": "搭配",
    },
}
_WORDS = {  # values that have a word of their own; M and F are MovieLens's
    ("en", "gender"): {"M": "male", "F": "female", "男": "male", "女": "female"},
    ("zh", "gender"): {"M": "男", "F": "女", "male": "男", "female": "女"},
    ("zh", "city_tier"): {"1": "一", "2": "二", "3": "三", "4": "四"},
}
_COMMA = {"en": ", ", "zh": "、"}  # within a list
_GAP, _STOP = {"en": " ", "zh": ""}, {"en": ".", "zh": "。"}
_CLOSED = tuple(".!?…。！？")  # ends of a sentence
_IDEOGRAPH = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
# catalogues sort "Godfather, The"; nobody writes it so


def item_text(
    row: Mapping | pd.Series, language: str | None = None, fields: tuple[str, ...] = ("title", "year", "tags")
) -> str:
    """An item as a few short sentences, in the order of `fields`; what is missing is left out.

    Args:
        row: of `ds.items`, or any mapping.
        language: of the words around the values, which stay as they are. None: Chinese if the title or a tag has a
            Chinese character, else English.
        fields: any of title, year (it goes with the title), tags, description, brand, category, price (yuan).

    Raises:
        ConfigError: an unknown language or field; a row that is none.

    >>> item_text({"title": "Godfather, The", "year": 1972, "tags": ["Crime"]})
    'The Godfather (1972). Crime.'
    >>> item_text({"title": "小米手机", "tags": ["手机", "数码"], "price": 1299.0}, fields=("title", "tags", "price"))
    '小米手机。标签：手机、数码。价格：1299元。'
    """
    check_kind("item_text(row)", row, Mapping | pd.Series, "a row of ds.items or a dict", "ds.items.loc[item_id]")
    check_kind("item_text(fields)", fields, tuple | list, f"a tuple of {', '.join(_ITEM['en'])}")
    for field in fields:
        if field not in _ITEM["en"]:
            raise ConfigError(
                "no text is written for this field",
                where="item_text(fields)",
                found=field,
                expected=", ".join(_ITEM["en"]),
                remedy="pass a tuple of them, such as fields=('title', 'tags', 'price')",
            )
    language = _language(row, language, ("title", "tags"))
    parts = _parts(row, language, {field: _ITEM[language][field] for field in fields})
    if "title" in parts and "year" in parts:
        parts["title"] += _GAP[language] + parts.pop("year")
    return _GAP[language].join(_sentence(part, field, language) for field, part in parts.items())


def item_texts(
    ds: RecDataset, language: str | None = None, fields: tuple[str, ...] = ("title", "year", "tags")
) -> list[str]:
    """`item_text` of every item, in the order of `ds.items`."""
    check_kind("item_texts(ds)", ds, RecDataset, "a RecDataset", "klm.load_dataset or klm.RecDataset.from_frames")
    return [item_text(row, language, fields) for row in ds.items.to_dict("records")]


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
    return {"en": ", ", "zh": "，"}[language].join(_parts(row, language, _USER[language]).values())


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
    tails = {}
    for relation, tail in facts:
        if text := value_text(tail):
            tails.setdefault(_RELATIONS[language].get(relation, relation), []).append(text)
    colon = {"en": ": ", "zh": "："}[language]
    parts = [f"{word[:1].upper()}{word[1:]}{colon}{_COMMA[language].join(of)}" for word, of in tails.items()]
    return _GAP[language].join(part + _STOP[language] for part in parts)


def _language(row: Mapping | pd.Series, language: str | None, fields: tuple[str, ...]) -> str:
    """The language asked for, or that of the row's own words."""
    check_choice("language", language, LANGUAGES)
    words = " ".join(text for field in fields for text in _listed(row.get(field)))
    return language or ("zh" if _IDEOGRAPH.search(words) else "en")


def _parts(row: Mapping | pd.Series, language: str, templates: dict[str, str]) -> dict[str, str]:
    """The filled templates of the fields that the row has."""
    parts = {}
    for field, template in templates.items():
        known = _WORDS.get((language, field), {})
        if value := _COMMA[language].join(known.get(text, text) for text in _listed(row.get(field))):
            parts[field] = template.format(title_text(value) if field == "title" else value)
    return parts


def _sentence(part: str, field: str, language: str) -> str:
    """The part with a full stop, unless it ends a sentence by itself; an English title always gets one."""
    own = (language == "zh" or field == "description") and part.endswith(_CLOSED)
    return part if own else part + _STOP[language]


def _listed(value) -> list[str]:
    """The texts of a list; a lone str is a list of one, a missing value none."""
    values = value if isinstance(value, list | tuple) else [value]
    return [text for text in map(value_text, values) if text]
