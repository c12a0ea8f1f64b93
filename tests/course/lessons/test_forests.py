"""What stands behind the name of a row is the difference that is drawn in it."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from klm_utils import course
from klm_utils.course.lessons import forests
from klm_utils.evaluation import kept


@pytest.fixture(scope="module")
def runs():
    return kept.load(course.stored("graph_parts.json"))


def test_a_difference_stands_behind_its_name(runs):
    assert forests.told({"a": (0.5, 0, 1), "b": (-0.25, -1, 0)}) == {
        "a  +0.500": (0.5, 0, 1),
        "b  -0.250": (-0.25, -1, 0),
    }
    (name,), (ends,) = zip(*forests.differences(runs, {"the layer": ("layer", "TransE")}).items(), strict=True)
    assert name == f"the layer  {ends[0]:+.3f}" and len(ends) == 5
    assert ends == runs.gains(("layer", "TransE"))["layer minus TransE"]


STORED = {"kbert": forests.TREES, "kbert_parts": forests.TREE_PARTS}


@pytest.mark.parametrize("name", STORED)
def test_the_pairs_of_the_notebook_are_stored(name):
    runs = kept.load(course.stored(f"{name}.json"))
    assert {variant for pair in STORED[name].values() for variant in pair} <= {*runs.variants}


def test_ways_of_three_files_go_with_one_text(runs):
    graph, facts = kept.load(course.stored("graph.json")), kept.load(course.stored("facts.json"))
    ways = forests.measured()
    assert {*forests.WAYS.values(), *sum(forests.BETWEEN.values(), ())} <= {*ways.variants}
    assert {run.split for run in ways.runs} == {run.split for run in graph.runs}
    tables = graph.values(), runs.values(), facts.values()
    for text, table in (("text", tables[1]), ("ridge, text", tables[2])):
        pd.testing.assert_series_equal(tables[0]["text"], table[text].reindex(tables[0].index), check_names=False)
    assert ways.values()[forests.AS_IN_07].tolist() == tables[2][forests.AS_IN_07].reindex(tables[0].index).tolist()
    assert ways.values()["text, relational"].tolist() == pytest.approx(tables[1]["layer"].tolist()), (
        "the layer that was taken apart is the one that was measured"
    )


def test_a_dot_for_each_fold(runs):
    ax = forests.folds(runs, {"graph": "TransE", "layer": "layer"}, "text", "gain")
    values = runs.values()
    for line, name in zip([line for line in ax.lines if line.get_marker() == "o"], ("TransE", "layer"), strict=True):
        assert sorted(line.get_xdata()) == pytest.approx(sorted(values[name] - values["text"]))
    assert [tick.get_text()[:5] for tick in ax.get_yticklabels()] == ["graph", "layer"]
    plt.close("all")
