"""Random damage to raw tables: each is repaired by the documented rule, or reported with row and column."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opencc import OpenCC

import klm_utils as klm
from klm_utils.data.shop.cleaning import DROPPED, KEPT, MISSING, REPAIRED, clean

TRADITIONAL = OpenCC("s2t")
ITEMS = pd.DataFrame(
    {
        "item_id": ["1", "2", "3", "4"],
        "title_zh": ["小米手机", "学习用书", "儿童 积木", "陶瓷茶壶"],
        "title_en": ["Xiaomi phone", "study book", "building blocks", "teapot No 7"],
        "tags_zh": ["手机|数码", "图书|教育", "玩具", "茶具|陶瓷"],
        "tags_en": ["phone|digital", "book|education", "toy", "tea set|ceramic"],
        "price": ["1299.0", "39.0", "59.0", "88.5"],
    }
)
USERS = pd.DataFrame(
    {
        "user_id": ["10", "20", "30"],
        "age": ["25", "30", "67"],
        "gender": ["male", "female", "male"],
        "city_tier": ["1", "2", "4"],
        "interests_zh": ["篮球|电影", "烹饪", "书法|养猫"],
        "interests_en": ["basketball|movies", "cooking", "calligraphy|keeping cats"],
    }
)
LOG = pd.DataFrame(
    {
        "user_id": [10, 10, 20, 30, 30],
        "item_id": [1, 2, 2, 3, 4],
        "timestamp": [100, 102, 90, 95, 99],
        "bought": [1, 0, 0, 1, 0],
    }
).astype(str)
RAW = {"items": ITEMS, "users": USERS, "interactions": LOG}
GOOD = clean(*RAW.values())


def wide(text):
    return "".join(chr(ord(c) + 0xFEE0) if c.isascii() and c.isalnum() else c for c in text)


# name -> (table, columns, change of one cell, rule, is the good value recovered?)
CELLS = {
    "full width": ("items", ["title_en", "price"], wide, "width", True),
    "full width id": ("users", ["user_id", "age"], wide, "width", True),
    "full width time": ("interactions", ["timestamp"], wide, "width", True),
    "blanks": ("items", ["title_zh", "title_en", "tags_en"], lambda v: f"  {v}\t", "space", True),
    "ideographic blank": ("items", ["title_zh"], lambda v: v + "\u3000", "width", True),
    "traditional": ("items", ["title_zh", "tags_zh"], TRADITIONAL.convert, "script", True),
    "traditional interests": ("users", ["interests_zh"], TRADITIONAL.convert, "script", True),
    "list as text": ("items", ["tags_zh", "tags_en"], lambda v: str(v.split("|")), "tags", True),
    "gender": ("users", ["gender"], lambda v: {"male": "男", "female": "F"}[v], "gender", True),
    "no age": ("users", ["age"], lambda v: "", "number", False),
    "age 250": ("users", ["age"], lambda v: "250", "number", False),
    "no price": ("items", ["price"], lambda v: "ask us", "number", False),
    "no id": ("items", ["item_id"], lambda v: "", "id", False),
    "id of another kind": ("users", ["user_id"], lambda v: f"u{v}", "id", False),
    "unknown item": ("interactions", ["item_id"], lambda v: "999", "unknown", False),
    "unknown user": ("interactions", ["user_id"], lambda v: "999", "unknown", False),
    "half a purchase": ("interactions", ["bought"], lambda v: "0.5", "id", False),
    "no time": ("interactions", ["timestamp"], lambda v: "yesterday", "id", False),
}


def damaged(name, row, column):
    table, columns, change, rule, recovered = CELLS[name]
    raw = {t: frame.copy() for t, frame in RAW.items()}
    row, column = row % len(raw[table]), columns[column % len(columns)]
    raw[table].loc[row, column] = change(raw[table].loc[row, column])
    return raw, table, row, column, rule, recovered


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(sorted(CELLS)), st.integers(0, 9), st.integers(0, 9))
def test_one_damaged_cell_is_repaired_or_reported_with_row_and_column(name, row, column):
    raw, table, row, column, rule, recovered = damaged(name, row, column)
    done = clean(*raw.values())
    changed = not raw[table].equals(RAW[table])
    mine = done.report[(done.report["table"] == table) & (done.report["row"] == row)]
    assert ((mine["rule"] == rule) & mine["column"].str.contains(column)).any() or not changed
    if recovered:
        for t in RAW:
            pd.testing.assert_frame_equal(getattr(done, t), getattr(GOOD, t))


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(st.sampled_from(sorted(CELLS)), st.integers(0, 9), st.integers(0, 9)), max_size=6), st.data())
def test_rows_in_are_rows_out_and_rows_reported(cells, data):
    raw = {t: frame.copy() for t, frame in RAW.items()}
    for name, row, column in cells:
        table, columns, change, _, _ = CELLS[name]
        row, column = row % len(raw[table]), columns[column % len(columns)]
        raw[table].loc[row, column] = change(RAW[table].loc[row, column])
    for table in raw:  # and some rows twice
        again = data.draw(st.lists(st.sampled_from(range(len(raw[table]))), max_size=2))
        raw[table] = pd.concat([raw[table], raw[table].iloc[again]], ignore_index=True)
    before = {t: frame.copy() for t, frame in raw.items()}
    done = clean(*raw.values())
    for table, frame in raw.items():
        assert frame.equals(before[table]), "the raw table is not changed"
        dropped = done.report[(done.report["table"] == table) & (done.report["action"] == DROPPED)]
        assert dropped["row"].is_unique
        assert sorted([*getattr(done, table).index, *dropped["row"]]) == list(frame.index)
    assert set(done.report["action"]) <= {DROPPED, REPAIRED, MISSING, KEPT}
    assert clean(done.items, done.users, done.interactions).report.query("action != 'kept' and rule != 'number'").empty


def test_swapped_columns_come_back():
    items, users = ITEMS.copy(), USERS.copy()
    items.loc[1, ["title_zh", "title_en"]] = items.loc[1, ["title_en", "title_zh"]].to_list()
    users.loc[0, ["age", "city_tier"]] = users.loc[0, ["city_tier", "age"]].to_list()
    done = clean(items, users, LOG)
    pd.testing.assert_frame_equal(done.items, GOOD.items)
    pd.testing.assert_frame_equal(done.users, GOOD.users)
    assert done.report[["row", "rule"]].to_numpy().tolist() == [[1, "swapped"], [0, "swapped"]]


def test_the_text_of_an_array_is_not_joined_to_one_word():
    """Python reads 'a' 'b' as 'ab'; what cannot be read as a list keeps its words apart."""
    items = ITEMS.assign(tags_en=["['phone' 'digital']", *ITEMS["tags_en"][1:]])
    assert "phonedigital" not in clean(items, USERS, LOG).items["tags_en"][0]


def test_chinese_punctuation_is_no_damage():
    items = ITEMS.assign(title_zh="“好”书（新版），值得！")
    assert clean(items, USERS, LOG).report.empty


def test_ties_are_kept_in_the_order_of_the_file_and_reported():
    log = LOG.assign(timestamp=["100", "100", "90", "95", "95"])
    done = clean(ITEMS, USERS, log)
    assert done.report[["row", "rule", "action"]].to_numpy().tolist() == [[1, "tie", KEPT], [4, "tie", KEPT]]
    assert done.interactions["item_id"].to_list() == [1, 2, 2, 3, 4]


def test_the_good_tables_need_nothing():
    assert GOOD.report.empty


def test_a_table_without_a_column_or_with_double_labels_is_refused():
    with pytest.raises(klm.KLMError, match="lacks a column"):
        clean(ITEMS.drop(columns="tags_zh"), USERS, LOG)
    with pytest.raises(klm.KLMError, match="not unique"):
        clean(ITEMS, USERS.set_axis([0, 0, 1]), LOG)


def test_every_bad_row_is_in_the_report_however_many():
    log = pd.concat([LOG] * 2_000, ignore_index=True).assign(item_id="999")  # a million: tests/benchmarks
    done = clean(ITEMS, USERS, log)
    assert len(done.report) == len(log) and not len(done.interactions)
    assert done.report["action"].eq(DROPPED).all()
