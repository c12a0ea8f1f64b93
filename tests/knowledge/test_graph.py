"""Facts of a graph: whose they are, how far they reach, and the control."""

import pandas as pd
import pytest

import klm_utils as klm
from klm_utils.knowledge import graph

TRIPLES = [
    ("phone", "brand", "Xiaomi"),
    ("phone", "brand", "Xiaomi"),
    ("Xiaomi", "country", "China"),
    ("Xiaomi", "makes", "watch"),
    ("phone", "goesWith", "watch"),
    ("watch", "usedFor", "running"),
    ("book", "isA", "thing"),
]


def dataset(triples=TRIPLES, **columns):
    items = pd.DataFrame({"item_id": [1, 2, 3], "title": ["phone", "watch", "cup"], **columns})
    frame = None if triples is None else pd.DataFrame(triples, columns=["head", "relation", "tail"])
    log = pd.DataFrame({"user_id": [1], "item_id": [1], "timestamp": [0], "rating": [1.0], "label": [1]})
    return klm.RecDataset.from_frames(items, pd.DataFrame({"user_id": [1]}), log, triples=frame)


def test_each_fact_once_and_one_step_further_but_not_back_to_items():
    phone, watch, cup = graph.facts(dataset())
    assert phone == [("brand", "Xiaomi"), ("goesWith", "watch"), ("country", "China")]
    assert watch == [("usedFor", "running")] and cup == []
    assert graph.as_tags([watch, cup]) == [["usedFor=running"], []]


def test_a_column_of_entities_goes_before_the_title():
    phone, watch, cup = graph.facts(dataset(entity=["book", None, "watch"]))
    assert phone == [("isA", "thing")] and watch == [] and cup == [("usedFor", "running")]


def test_the_control_deals_the_facts_out_to_other_items():
    found = [[("n", str(i))] for i in range(50)]
    other = graph.shuffled(found, seed=1)
    assert sorted(map(str, other)) == sorted(map(str, found))
    assert all(a != b for a, b in zip(other, found, strict=True)), "none keeps its own"
    assert other != graph.shuffled(found, seed=2) and other == graph.shuffled(found, seed=1)


def test_one_item_has_no_control():
    """It would keep its own facts, and be called shuffled."""
    with pytest.raises(klm.DataError, match="cannot be shuffled"):
        graph.shuffled([[("brand", "Xiaomi")]])
    assert graph.shuffled([]) == []


def test_facts_of_what_is_no_data_set():
    for wrong in (None, "shop", pd.DataFrame()):
        with pytest.raises(klm.ConfigError, match="facts"):
            graph.facts(wrong)


def test_without_a_graph_there_are_no_facts():
    with pytest.raises(klm.errors.DataError, match="no knowledge graph"):
        graph.facts(dataset(triples=None))


def test_new_items_of_the_shop_have_their_true_category_in_the_graph_only():
    ds = klm.load_dataset("shop")
    new = ds.items["category"] == "新品"
    kinds = {dict(own)["category"] for own, late in zip(graph.facts(ds), new, strict=True) if late}
    assert new.sum() == 110 and len(kinds) > 10 and "新品" not in kinds
    assert set(ds.items.loc[new, "subcategory"]) == {"待归类"}
