"""What notebook 02 measures of a language model, against slow or known answers."""

import numpy as np
import pytest
import torch

import klm_utils as klm
from klm_utils.course.lessons import embedding_trials as trials
from klm_utils.data.schema import title_text
from klm_utils.embedding.pooling import masked_mean

TEXT = "The alien hunts the crew because it is hungry."


@pytest.fixture(scope="module")
def ds():
    return klm.load_dataset("movielens-100k")


@pytest.fixture(scope="module")
def minilm():
    return klm.TextEncoder.from_pretrained("minilm")


def test_sixty_tags_are_paired_and_neighbours_counted():
    words, topic = trials.sixty()
    assert words["zh"][0] == "篮球" and words["en"][0] == "basketball" and len(topic) == len(set(words["en"])) == 60
    perfect = np.eye(12)[np.repeat(np.arange(12), 5)]
    assert trials.own_topic(perfect, topic).tolist() == [1] * 60
    assert trials.own_topic(np.ones((60, 3)), topic) == pytest.approx(np.full(60, 4 / 59)), "all tied"
    assert trials.by_topic(np.ones(60)) == (1, 1, 1)


def test_sequels_are_ranked_among_all_other_titles(ds):
    titles = [title_text(title) for title in ds.items["title"]]
    vectors = np.random.default_rng(0).normal(size=(len(titles), 8))
    vectors[titles.index("Return of the Jedi")] = vectors[titles.index("Star Wars")]
    found = trials.sequels({"planted": vectors}, titles)
    assert len(found) == len(trials.SEQUELS) and found["Star Wars → Return of the Jedi"]["planted"] == 1
    assert 50 < np.median([own["planted"] for own in found.values()]) < 1600


def test_poolings_take_the_first_the_last_or_all(minilm):
    words, topic = trials.sixty()
    found = trials.poolings(minilm, words["en"], topic)
    assert found["mean"] == pytest.approx(trials.own_topic(minilm.encode(words["en"]), topic).mean())
    assert set(found) == {"first token", "last token", "mean"} and found["last token"] < found["mean"]


def test_whitening_on_few_texts_harms_and_the_change_is_a_difference(minilm):
    words, topic = trials.sixty()
    fits = {"centred": (words["en"], "center"), "full": (words["en"], "zca", 1)}
    found = trials.after_whitening(minilm, fits, words["en"], topic)
    assert found["full"][0] < -0.7 < -0.1 < found["centred"][0] < 0.1
    assert found["full"][1] <= found["full"][0] <= found["full"][2]


def test_neighbours_leave_out_the_word_and_twins():
    vectors = np.array([[1, 0], [1, 0.1], [1, 0.1], [0, 1.0]])
    assert [n for n, _ in trials.neighbours(vectors, ["a", "b", "b", "c"], "a", 3)] == ["b", "c"]


def test_the_choice_sees_unknown_tokens(minilm):
    table = trials.choice({"minilm": minilm}, {n: klm.load_dataset("shop", language=n) for n in ("zh", "en")}, texts=2)
    assert table.loc[("minilm", "zh"), "unknown tokens"] > 0.5 and table.loc[("minilm", "en"), "unknown tokens"] < 0.01
    assert (table["low"] <= table["own topic"]).all() and table["texts a second"].dtype.kind == "i"


def test_the_ways_are_timed_and_padding_costs(minilm):
    cost = trials.ways(minilm, ["tea", "green tea and more words"] * 4, sample=2, times=1)
    assert len(cost) == 5 and cost["one by one, padded to 512"] > cost["one by one"] > 0


def test_one_by_one_takes_titles_and_descriptions(minilm, monkeypatch):
    read = []
    tokenizer = type(minilm.tokenizer).__call__

    def spy(self, some, **settings):
        read.append(some)
        return tokenizer(self, some, **settings)

    monkeypatch.setattr(type(minilm.tokenizer), "__call__", spy)
    trials.ways(minilm, ["tea", "a long text about tea"] * 4, sample=2, times=1)
    assert [some for some in read if len(some) == 1][:2] == [["tea"], ["a long text about tea"]]


def test_four_bits_are_sixteen_steps_of_one_scale():
    weights = np.random.default_rng(0).normal(size=(4, 64)).astype(np.float32)
    left = trials.four_bits(weights)
    assert left.shape == weights.shape and max(len(np.unique(block)) for block in left.reshape(-1, 32)) <= 16
    scale = np.abs(weights.reshape(-1, 32)).max(1) / 8
    assert (np.abs(left - weights).reshape(-1, 32).max(1) <= scale * 1.01).all()
    assert trials.four_bits(left) == pytest.approx(left, abs=2e-3) and not trials.four_bits(0 * weights).any()


def test_rounding_leaves_the_original_alone(minilm):
    before = minilm.fingerprint
    small = trials.in_four_bits(minilm)
    assert minilm.fingerprint == before != small.fingerprint
    cosine = (small.encode(["Alien"], cache=False) * minilm.encode(["Alien"], cache=False)).sum()
    assert 0.9 < cosine < 0.999


def test_hidden_states_are_padded_and_their_mean_is_the_vector(minilm):
    hidden, mask, tokens = trials.hidden_states(minilm, ["Alien", "Star Wars"], width=8)
    assert (
        hidden.shape == (2, 8, 384) and mask.sum(1).tolist() == [3, 4] and tokens[0][:3] == ["[CLS]", "alien", "[SEP]"]
    )
    mean = torch.nn.functional.normalize(masked_mean(hidden, mask))[0].numpy()
    assert mean == pytest.approx(minilm.encode(["Alien"], cache=False)[0], abs=1e-5)


def test_the_head_that_is_taken_out_is_the_librarys(minilm):
    q, k, v, tokens = trials.head_inputs(minilm, TEXT, layer=3, head=1)
    share = (q @ k.T / q.shape[1] ** 0.5).softmax(-1)
    assert q.shape == k.shape == v.shape == (12, 32) and tokens[7] == "it"
    assert share.numpy() == pytest.approx(trials.head_weights(minilm, TEXT, 3, 1).numpy(), abs=1e-5)
    assert tokens[int(share[7].argmax())] == "alien"


def test_the_yardstick_has_all_pairs_and_minilm_no_prefix(minilm):
    words, topic = trials.sixty()
    marks = trials.yardstick(minilm, words["en"], topic)
    for own in marks.values():
        assert [len(v) for v in own.values()] == [60 * 59 // 2 - 120, 120, 60]
        assert own["same word, no prefix"] == pytest.approx(np.ones(60), abs=1e-5)
    means = [np.concatenate([own["two topics"], own["one topic"]]).mean() for own in marks.values()]
    assert list(marks) == ["as they come", "centred"]
    assert means[0] > 0.1 and means[1] == pytest.approx(-1 / 59, abs=0.01)


def test_the_token_table_is_the_encoder_without_layers(minilm):
    one, other, turned = trials.token_table(minilm, ["star wars", "star", "wars star"])
    assert one == pytest.approx(turned, abs=1e-6) and one.shape == (384,) and abs(one - other).max() > 0.01
    table = minilm.model.embeddings.word_embeddings.weight.detach().numpy()
    assert other == pytest.approx(table[minilm.tokenizer.convert_tokens_to_ids("star")])


def test_a_neighbour_is_the_same_whatever_the_length():
    vectors = np.random.default_rng(0).normal(size=(30, 8))
    assert trials.same_neighbour(vectors, 2 * vectors) == 1
    assert trials.same_neighbour(vectors, vectors[::-1]) < 0.3


def test_the_way_of_a_text_ends_in_its_vector(minilm):
    steps = dict(trials.way_of(minilm, "Alien", "Alien (1979). Horror."))
    assert steps["a film"] == "Alien" and steps["a sentence"] == "Alien (1979).\nHorror."
    assert f"{len(minilm.tokenize(['Alien (1979). Horror.'])[0])} tokens" in steps
    assert steps["mean, length 1"].startswith(f"{minilm.encode(['Alien (1979). Horror.'])[0][0]:+.2f}")
