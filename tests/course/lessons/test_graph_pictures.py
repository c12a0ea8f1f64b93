"""The pictures of a graph show what they say."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

import klm_utils as klm
from klm_utils.course.exercises import ch07
from klm_utils.course.lessons import graph_pictures, kbert
from klm_utils.course.lessons.graph_pictures import arrows, bars
from klm_utils.knowledge.relational import RelationalLayer
from klm_utils.knowledge.transe import TransE
from klm_utils.plots import COLOURS

TRIPLES = pd.DataFrame([("a", "by", "x"), ("a", "in", "y"), ("b", "by", "x")], columns=["head", "relation", "tail"])


def test_arrows_name_every_fact_and_the_film():
    model = TransE(TRIPLES, width=4, epochs=3)
    ax = arrows(model, "a", [("by", "x"), ("in", "y")], "Alien", ["b"])
    texts = {text.get_text().strip() for text in ax.texts}
    places = [
        graph_pictures.rank(model, model.nodes.loc["a"] + model.relations.loc[r], t)
        for r, t in TRIPLES[:2].values[:, 1:]
    ]
    tails = {f"{fact}: nearest no. {place}" for fact, place in zip(("by x", "in y"), places, strict=True)}
    assert texts == {"", "Alien"} | tails
    film = ax.lines[-1]
    assert film.get_xdata()[0] == 0 and film.get_ydata()[0] == 0
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
    ax = bars(pd.Series([0.75, 0.25], index), most=1, always="in")
    assert [bar.get_width() for bar in ax.patches] == [0.75, 0.25], "the relation that is asked for is there"
    assert [to_hex(bar.get_facecolor()).upper() for bar in ax.patches] == [colour.upper() for colour in COLOURS[:2]]
    assert "the 1 heaviest of 2 and each in" in ax.get_xlabel()


def test_an_arrow_ends_at_length_1():
    model = TransE(TRIPLES, width=2, epochs=3)
    model.relations *= 50
    ax = arrows(model, "a", [("by", "x")], "Alien")
    h, end = model.nodes.loc["a"].to_numpy(), model.nodes.loc["a"] + model.relations.loc["by"]
    drawn = ax.lines[0].get_xydata()[0]  # where the dotted line starts; with width 2 the plane shows all
    assert np.linalg.norm(drawn) == pytest.approx(np.linalg.norm(end / np.linalg.norm(end) - h), abs=1e-5)


def test_rank_counts_the_nodes_that_are_nearer():
    model = TransE(TRIPLES, width=4, epochs=1)
    assert graph_pictures.rank(model, model.nodes.loc["y"].to_numpy(), "y") == 1
    far = ((model.nodes - model.nodes.loc["y"]) ** 2).sum(axis="columns")
    assert graph_pictures.rank(model, model.nodes.loc["y"].to_numpy(), far.idxmax()) == len(model.nodes)


def test_labels_are_moved_apart():
    texts = [plt.figure().text(0, height, "") for height in (0.0, 0.01, 1.0)]
    graph_pictures.spread_out([(text.get_position()[1], text) for text in texts], 0.2)
    heights = [text.get_position()[1] for text in texts]
    assert heights[1] - heights[0] == pytest.approx(0.2) and heights[2] == 1.0


def test_neighbours_say_what_they_share():
    model = TransE(TRIPLES, width=4, epochs=3)
    table = graph_pictures.neighbours(model, TRIPLES, "x", {"a": "Alien"}, 3).set_index("name")
    assert set(table.index) == {"Alien", "b", "y"} and list(table.columns) == ["role", "shared films", "triples"]
    assert table.loc["y"].tolist() == ["in", 1, 1] and table.loc["Alien"].tolist() == ["film", 0, 2]


def test_starts_differ_and_a_drawn_tail_is_the_yardstick():
    triples = pd.concat([TRIPLES, pd.DataFrame([("c", "by", "z"), ("a", "by", "w")], columns=[*TRIPLES])])
    models = [TransE(triples, width=4, epochs=3, seed=seed) for seed in (0, 1)]
    table, drawn = graph_pictures.starts(models, triples, "a", "by", "x")
    assert drawn == 0.5, "of z and w, w shares the head a; y is the tail of another relation"
    for row, model in zip(table.itertuples(index=False), models, strict=True):
        near = graph_pictures.neighbours(model, triples, "x")
        end = model.nodes.loc["a"] + model.relations.loc["by"]
        names = ", ".join(near["name"][:3])
        assert tuple(row) == (graph_pictures.rank(model, end, "x"), names, (near["shared films"] > 0).sum())


def test_downhill_with_the_right_signs_and_with_the_wrong_one():
    h, r, t, other = np.random.default_rng(0).normal(size=(4, 6))
    right = graph_pictures.trained(ch07.pushes, h, r, t, other)
    wrong = graph_pictures.trained(graph_pictures.as_given, h, r, t, other)
    assert right.shape == (101, 2) and right[-1, 0] < right[0, 0] and right[-1, 1] > right[0, 1]
    assert wrong[-1, 0] > right[-1, 0]
    ours, given = ch07.pushes(h, r, t, other), graph_pictures.as_given(h, r, t, other)
    assert [np.allclose(a, b) for a, b in zip(ours, given, strict=True)] == [True, False, True]
    axes = graph_pictures.two_distances({"as given": wrong, "yours": right})
    assert [ax.get_title() for ax in axes] == ["as given", "yours"]
    assert np.array_equal(axes[1].lines[0].get_ydata(), right[:, 0])
    assert np.array_equal(axes[0].lines[1].get_ydata(), wrong[:, 1])


def test_attention_by_kind_is_the_mean_over_films_that_have_all():
    layer = RelationalLayer(TransE(TRIPLES, width=4, epochs=3))
    films = [[("by", "x"), ("in", "y")], [("by", "x")], [("by", "unknown")], []]
    table = graph_pictures.attention_by_kind(layer, films)
    by = layer.attention(films[0])["by"].sum()
    assert table.index.name == "1 films" and table["alike"].tolist() == [0.5, 0.5]
    assert table.loc["by", "attention"] == pytest.approx(by) and table.loc["in", "one fact"] == pytest.approx(
        2 * (1 - by), abs=1e-5
    )
    with pytest.raises(klm.KLMError):
        graph_pictures.attention_by_kind(layer, films[1:])


def test_weights_of_a_film_beside_those_of_many():
    layer = RelationalLayer(TransE(TRIPLES, width=4, epochs=3))
    film = [("by", "x"), ("in", "y")]
    kinds = graph_pictures.attention_by_kind(layer, [film])
    left, right = graph_pictures.weights(layer.attention(film), kinds)
    assert [bar.get_width() for bar in left.patches] == layer.attention(film).tolist()
    assert [bar.get_width() for bar in right.patches] == sorted(kinds["one fact"], reverse=True)
    assert [text.get_text() for text in right.texts] == [f"{bar.get_width():.2f}" for bar in right.patches]
    assert right.lines[0].get_xdata()[0] == 1 and "mean of 1 films" in right.get_xlabel()


def small_tree():
    branches, title = np.array([0, 0, 0, 1, 1, 2, 0]), np.array([0, 1, 0, 0, 0, 0, 0], dtype=bool)
    tokens = ["[CLS]", "alien", ".", "by", "scott", "weaver", "[SEP]"]
    see = kbert.visible_matrix(branches, title)
    return kbert.Tree(tokens, [*range(7)], np.array([0, 1, 2, 2, 3, 2, 3]), branches, title, see)


def test_the_tree_has_each_token_at_its_soft_position():
    ax = graph_pictures.tree_drawing(small_tree())
    there = {text.get_text(): text.get_position() for text in ax.texts}
    assert (
        there["alien"] == (1, 0) and there["by"] == (2, 1) and there["scott"] == (3, 1) and there["weaver"] == (2, -1)
    )
    assert [text.get_text() for text in ax.texts if text.get_weight() == "bold"] == ["alien"]
    assert ax.get_xlabel() == "soft position"


def test_moved_tokens_are_blue_in_their_column():
    moved = {"yours": np.array([True, False]), "MiniLM": np.array([True, True])}
    ax = graph_pictures.moved_tokens(["a", "b"], moved)
    assert np.array_equal(ax.images[0].get_array(), [[1, 1], [0, 1]])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["yours", "MiniLM"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
