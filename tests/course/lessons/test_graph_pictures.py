"""The pictures of a graph show what they say."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

import klm_utils as klm
from klm_utils.course.lessons.graph_pictures import arrows, bars
from klm_utils.knowledge.transe import TransE

TRIPLES = pd.DataFrame([("a", "by", "x"), ("a", "in", "y"), ("b", "by", "x")], columns=["head", "relation", "tail"])


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_arrows_name_every_fact_and_the_film():
    model = TransE(TRIPLES, width=4, epochs=3)
    ax = arrows(model, "a", [("by", "x"), ("in", "y")], "Alien", ["b"])
    assert {text.get_text().strip() for text in ax.texts} == {"", "by", "in", "x", "y", "Alien"}
    for head, facts in (("c", [("by", "x")]), ("a", [("by", "z")]), ("a", [("of", "x")]), ("a", [])):
        with pytest.raises(klm.KLMError):
            arrows(model, head, facts, "Alien")


def test_bars_are_the_attention():
    index = pd.MultiIndex.from_tuples([("by", "x"), ("in", "y")])
    ax = bars(pd.Series([0.75, 0.25], index))
    assert [bar.get_width() for bar in ax.patches] == [0.75, 0.25]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["by: x", "in: y"]
    assert ax.lines[0].get_xdata()[0] == 0.5
    assert bars(pd.Series([0.75, 0.25], index), most=1).lines[0].get_xdata()[0] == 0.5, "of all facts"
