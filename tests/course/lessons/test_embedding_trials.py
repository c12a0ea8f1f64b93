"""What notebook 02 measures, against slow or known answers."""

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
def split(ds):
    return klm.split(ds, "cold_item", fold=0)


@pytest.fixture(scope="module")
def minilm():
    return klm.TextEncoder.from_pretrained("minilm")


@pytest.fixture(scope="module")
def shop():
    return klm.split(klm.load_dataset("shop", language="en"), "temporal")


def test_a_taste_is_the_label_minus_the_users_mean_of_train(ds, split):
    taste = trials.tastes(split)
    rows = split.train[split.train["user_id"] == 677]
    own = taste[[ds.users.index.get_loc(677)]].toarray()[0]
    at = ds.items.index.get_indexer(rows["item_id"])
    assert own[at] == pytest.approx(rows["label"] - rows["label"].mean()) and own.sum() == pytest.approx(0)
    assert np.count_nonzero(own) <= len(rows)


def test_the_true_labels_rank_best_and_constants_by_chance(ds, split):
    labels = np.zeros((len(ds.users), len(ds.items)))
    u, i = ds.users.index.get_indexer(split.test["user_id"]), ds.items.index.get_indexer(split.test["item_id"])
    labels[u, i] = split.test["label"]
    assert trials.auc(split, labels, np.eye(len(ds.items))).estimate() == 1
    assert trials.auc(split, 0 * labels, np.eye(len(ds.items))).estimate() == 0.5


def test_the_story_is_sorted_by_cosine_and_tells_what_came(ds, split):
    items = trials.centred(trials.genres(ds), trials.in_train(split))
    users = trials.unit(trials.tastes(split) @ items)
    history, ranked = trials.story(split, 677, users, items)
    assert [w > 0 for _, w in history] == [True] * 3 + [False] * 3
    assert [c for _, c, _ in ranked] == sorted((c for _, c, _ in ranked), reverse=True)
    assert len(ranked) == (split.test["user_id"] == 677).sum() and "Mission: Impossible" in [t for t, *_ in ranked]


def test_genres_are_worth_something_and_shuffled_ones_nothing(ds):
    table, dealt, shared = trials.films_worth(ds, {"genres": trials.genres(ds)}, [0, 1], shuffles=3)
    assert table.shape == (2, 1) and table["genres"].min() > 0.54 > 0.53 > dealt.max() and 0.05 < shared < 0.2
    found = trials.gains(table.assign(chance=[0.5, 0.51]), [("genres", "chance")], shared)
    assert found["mean"].iloc[0] == pytest.approx(table["genres"].mean() - 0.505)
    assert found["others low"].iloc[0] < found["mean"].iloc[0] < found["others high"].iloc[0]


def test_one_direction_for_all_makes_one_list_until_the_users_are_centred(shop):
    rng = np.random.default_rng(0)
    users = rng.normal(size=(len(shop.dataset.users), 16)) + 20
    items = rng.normal(size=(len(shop.dataset.items), 16))
    ways = trials.centrings(shop, users, items)
    assert trials.agreement(*ways["nothing"]) > 0.9 and abs(trials.agreement(*ways["users"])) < 0.1
    shared = [trials.shared_top(*ways[way]) for way in ("nothing", "users")]
    assert shared[0] > 5 > 1 > shared[1] and trials.shared_top(np.ones((3, 16)), items) == 10
    assert np.linalg.norm(ways["both"][0], axis=1) == pytest.approx(np.ones(len(users)))


def test_letters_know_only_letters():
    encode = trials.letters(["basketball", "table tennis", "green tea", "black tea", "teapot"] * 5, width=4)
    green, black, ball = encode(["green tea", "black tea", "basketball"])
    assert green @ black > green @ ball


def test_shop_worth_has_a_row_for_each_reader(shop, minilm):
    found = trials.shop_worth({"en": shop.dataset}, {"minilm": minilm}, shuffles=2)
    assert set(found["rows"]) == {"minilm, en", "letters, en"}
    value, low, high = found["rows"]["minilm, en"]
    assert low < value < high and value > 0.6


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


def test_the_yardstick_has_all_pairs_and_minilm_no_prefix(minilm):
    words, topic = trials.sixty()
    marks = trials.yardstick(minilm, words["en"], topic)
    assert [len(v) for v in marks.values()] == [60 * 59 // 2 - 120, 120, 60]
    assert marks["same word, no prefix"] == pytest.approx(np.ones(60), abs=1e-5)


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


def test_with_the_mask_nothing_flows_to_the_left(minilm):
    one, other = "the film about a shark is old", "the film about a ghost is old"
    tokens, moved = trials.movement(trials.left_only(minilm), one, other)
    at = tokens.index("shark")
    assert moved[:at].max() < 1e-4 < 1 < moved[at:].min() and trials.movement(minilm, one, other)[1].min() > 1


def test_the_lottery_is_that_of_the_library(minilm):
    from transformers import BertForSequenceClassification

    numbers = trials.head_lottery(minilm, ["book", "car"], draws=300)
    assert numbers.shape == (300, 2) and abs(numbers.mean()) < 0.01
    config = type(minilm.model.config).from_dict(minilm.model.config.to_dict() | {"num_labels": 3})
    theirs = []
    for seed in range(30):
        torch.manual_seed(seed)
        head = BertForSequenceClassification(config).eval()
        head.bert.load_state_dict(minilm.model.state_dict(), strict=False)
        with torch.inference_mode():
            theirs.append(float(head(**minilm.tokenizer("book", return_tensors="pt")).logits.mean()))
    assert 0.5 < np.std(theirs) / numbers[:, 0].std() < 2
