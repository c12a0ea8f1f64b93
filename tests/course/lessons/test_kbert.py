"""Sentence trees: who sees whom is what reaches the layers, and without it a tree is a plain sentence."""

import logging
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from worlds import tiny_encoder

import klm_utils as klm
from klm_utils.course.lessons import kbert
from klm_utils.knowledge.templates import item_texts

SENTENCE, TITLE = "Alien (1979). Horror.", "Alien"
DIRECTOR, OTHER, ACTOR = "Directed by Ridley Scott.", "Directed by James Cameron.", "With Sigourney Weaver."
FACTS = [DIRECTOR, ACTOR, "Country: United Kingdom."]


@pytest.fixture(scope="module")
def encoder():
    return klm.TextEncoder.from_pretrained("minilm")


def tree(encoder, *facts):
    return kbert.sentence_tree(encoder, SENTENCE, TITLE, facts)


def states(encoder, one):
    """The token vectors before the first layer and after each, of one tree."""
    with torch.inference_mode():
        return [layer[0] for layer in kbert.token_states(encoder, [one])[0]]


def plain(encoder, *texts):
    return encoder.encode(texts, cache=False)


def test_soft_positions_count_on_from_the_title_on_every_branch(encoder):
    one = kbert.sentence_tree(encoder, "The Godfather (1972).", "The Godfather", ["By Coppola.", "Drama."])
    assert " ".join(one.tokens) == "[CLS] the godfather ( 1972 ) . by cop ##pol ##a . drama . [SEP]"
    assert one.positions.tolist() == [0, 1, 2, 3, 4, 5, 6, 3, 4, 5, 6, 7, 3, 4, 7]
    assert one.branches.tolist() == [0] * 7 + [1] * 5 + [2] * 2 + [0]
    assert np.flatnonzero(one.title).tolist() == [1, 2]


def test_who_sees_whom(encoder):
    one = tree(encoder, *FACTS)
    see, at = one.visible, one.tokens.index
    assert see.dtype == bool and see.shape == (len(one.ids),) * 2 and (see == see.T).all() and see.diagonal().all()
    assert see[at("alien")].all(), "the title sees all facts"
    assert see[at("scott"), at("directed")] and see[at("scott"), at("alien")] and see[at("horror"), at("1979")]
    assert not see[at("scott"), at("weaver")], "two facts"
    assert not see[at("scott"), at("horror")] and not see[at("[CLS]"), at("scott")], "a fact, and the sentence"
    assert see[at("[CLS]"), at("[SEP]")] and not see[at("[SEP]"), at("scott")], "the end belongs to the sentence"


def test_with_all_in_sight_and_plain_positions_it_is_the_joined_sentence(encoder):
    one = tree(encoder, *FACTS)
    n = len(one.ids)
    flat = replace(one, visible=np.ones((n, n), dtype=bool), positions=np.arange(n))
    joined = plain(encoder, " ".join([SENTENCE, *FACTS]))
    assert np.allclose(kbert.encode_trees(encoder, [flat]), joined, atol=1e-5)
    for half in (replace(one, positions=flat.positions), replace(one, visible=flat.visible), one):
        assert abs(kbert.encode_trees(encoder, [half]) - joined).max() > 1e-3, "mask and positions both reach the model"


def test_a_title_without_facts_is_read_plainly(encoder):
    for over in ("all", "trunk"):
        vector = kbert.encode_trees(encoder, [tree(encoder)], over=over)
        assert np.allclose(vector, plain(encoder, SENTENCE), atol=1e-5)
        assert vector.dtype == np.float32 and np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_a_fact_reaches_the_title_in_one_layer_and_the_others_in_two(encoder):
    a, b = tree(encoder, DIRECTOR, ACTOR), tree(encoder, OTHER, ACTOR)
    assert len(a.ids) == len(b.ids), "only the words differ"
    _, one, two, *_ = (abs(x - y).amax(1) for x, y in zip(states(encoder, a), states(encoder, b), strict=True))
    title, sentence, actor = torch.tensor(a.title), torch.tensor((a.branches == 0) & ~a.title), a.branches == 2
    assert one[title].min() > 1e-3, "the title sees the director"
    assert one[sentence].max() < 1e-6 and one[actor].max() < 1e-6, "nobody else does"
    assert two[sentence].min() > 1e-4 and two[actor].min() > 1e-4, "the title has told them"


def test_a_wrong_mask_would_be_seen(encoder):
    """What the test above relies on: with all in sight the first layer moves every token, with nobody none."""
    a, b = tree(encoder, DIRECTOR, ACTOR), tree(encoder, OTHER, ACTOR)
    for seen, moved in ((np.ones_like(a.visible), True), (np.eye(len(a.ids), dtype=bool), False)):
        x, y = (states(encoder, replace(one, visible=seen)) for one in (a, b))
        for layer in (1, -1):
            assert (abs(x[layer] - y[layer]).amax(1)[a.branches != 1] > 1e-4).all() == moved


def test_the_mask_means_the_same_to_another_way_to_compute_attention(encoder):
    other, trees = encoder.copy(), [tree(encoder, *FACTS), tree(encoder, ACTOR)]
    other.model.set_attn_implementation("eager")
    assert encoder.model.config._attn_implementation != "eager"
    assert np.allclose(kbert.encode_trees(other, trees), kbert.encode_trees(encoder, trees), atol=1e-5)


def test_the_order_of_the_facts_counts_in_a_text_and_not_in_a_tree(encoder):
    there, back = (kbert.encode_trees(encoder, [tree(encoder, *facts)]) for facts in (FACTS, FACTS[::-1]))
    assert np.allclose(there, back, atol=1e-5)
    texts = plain(encoder, " ".join([SENTENCE, *FACTS]), " ".join([SENTENCE, *FACTS[::-1]]))
    assert abs(texts[0] - texts[1]).max() > 1e-3


def test_padding_and_the_order_of_a_batch_change_nothing(encoder):
    trees = [tree(encoder, *FACTS * 4), tree(encoder), tree(encoder, ACTOR), tree(encoder, *FACTS)]
    alone = np.concatenate([kbert.encode_trees(encoder, [one]) for one in trees])
    for over, size in (("all", 64), ("all", 2), ("trunk", 64)):
        wanted = alone if over == "all" else [kbert.encode_trees(encoder, [one], over=over)[0] for one in trees]
        assert np.allclose(kbert.encode_trees(encoder, trees, size, over), wanted, atol=1e-5)
    assert kbert.encode_trees(encoder, []).shape == (0, 384)


def test_over_the_trunk_a_fact_counts_by_what_the_title_has_seen(encoder):
    text, whole, trunk = (
        plain(encoder, SENTENCE),
        kbert.encode_trees(encoder, [tree(encoder, *FACTS)]),
        kbert.encode_trees(encoder, [tree(encoder, *FACTS)], over="trunk"),
    )
    assert (text @ whole.T).item() < (text @ trunk.T).item() < 0.999


def test_a_long_tree_loses_whole_facts_from_the_first_that_does_not_fit(encoder, caplog):
    room = len(tree(encoder, DIRECTOR, "UK.").ids)
    small = klm.TextEncoder(encoder.tokenizer, encoder.model, "minilm", max_length=room)
    cut = tree(small, DIRECTOR, ACTOR, "UK.")
    assert cut.tokens == tree(encoder, DIRECTOR).tokens and cut.left_out == 2, "what comes later is not squeezed in"
    assert tree(small, DIRECTOR, "UK.").left_out == 0, "what just fits is kept"
    less = klm.TextEncoder(encoder.tokenizer, encoder.model, "minilm", max_length=room - 1)
    assert tree(less, DIRECTOR, "UK.").left_out == 1, "one token short"
    with caplog.at_level(logging.WARNING):
        kbert.encode_trees(small, [cut, tree(small), cut, tree(small, DIRECTOR, ACTOR)])
    assert f"5 facts of 3 trees did not fit into {room} tokens" in caplog.text
    tiny = klm.TextEncoder(encoder.tokenizer, encoder.model, "minilm", max_length=5)
    long = tree(tiny, ACTOR)
    assert long.left_out == 1 and np.allclose(kbert.encode_trees(tiny, [long])[0], plain(tiny, SENTENCE), atol=1e-5)


def test_the_films_of_a_data_set(encoder):
    ds = klm.load_dataset("movielens-100k")
    few = replace(ds, items=ds.items.head(40), interactions=ds.interactions[ds.interactions["item_id"] <= 40])
    trees, bare = kbert.item_trees(few, encoder), kbert.item_trees(few, encoder, facts=())
    assert np.allclose(kbert.encode_trees(encoder, bare), plain(encoder, *item_texts(few)), atol=1e-5)
    row = few.items.loc[1]  # Toy Story
    assert trees[0].branches.max() == sum(len(row[name]) for name in few.facts) and trees[0].left_out == 0
    assert "lasse" in trees[0].tokens or "john" in trees[0].tokens
    assert kbert.item_trees(few, encoder, ["directors"])[0].branches.max() == 1
    with pytest.raises(klm.DataError, match="director"):
        kbert.item_trees(few, encoder, ["director"])


def test_the_prefix_of_a_model_stands_before_the_tree(encoder):
    asking = klm.TextEncoder(encoder.tokenizer, encoder.model, "minilm", prefix="query: ")
    assert np.flatnonzero(tree(asking, ACTOR).title).tolist() == [3]
    assert np.allclose(kbert.encode_trees(asking, [tree(asking)]), plain(asking, SENTENCE), atol=1e-5)


def test_what_makes_no_tree_is_refused(encoder):
    for title in ("Aliens", ""):
        with pytest.raises(klm.DataError, match="no title"):
            kbert.sentence_tree(encoder, SENTENCE, title, [])
    with pytest.raises(klm.DataError, match="list"):
        kbert.sentence_tree(encoder, SENTENCE, TITLE, DIRECTOR)
    with pytest.raises(klm.ConfigError, match="no trees"):
        kbert.sentence_tree(tiny_encoder(), "a film", "film", [])
    with pytest.raises(klm.ConfigError, match="TextEncoder"):
        kbert.sentence_tree("minilm", SENTENCE, TITLE, [])
    with pytest.raises(klm.ConfigError, match="over"):
        kbert.encode_trees(encoder, [tree(encoder)], over="title")


def test_the_picture_has_the_tokens_their_positions_and_a_colour_for_each_fact(encoder):
    one = tree(encoder, DIRECTOR, "Cost $5 or $6.")
    ax = kbert.tree_picture(one)
    ax.figure.canvas.draw()
    assert [label.get_text() for label in ax.get_yticklabels()] == one.tokens
    assert [text.get_text() for text in ax.texts] == list(map(str, one.positions))
    shown = ax.images[0].get_array()
    assert ((shown > 0) == one.visible).all() and set(np.unique(shown)) == {0, 1, 2, 3}
    assert ax.figure.get_size_inches()[0] < 10.24
    plt.close("all")
