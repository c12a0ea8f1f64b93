"""Each wrong way of the article, run as written, gives the wrong result that notebook 02 states (errata E6-E16)."""

import ast

import numpy as np
import pytest
import torch
from transformers import BertForSequenceClassification

import klm_utils as klm
from klm_utils.embedding.whitening import fit_whitening


@pytest.fixture(scope="module")
def tags():
    article = klm.load_dataset("article")
    return list(dict.fromkeys(t for c in (article.items["tags"], article.users["interests"]) for ts in c for t in ts))


@pytest.fixture(scope="module")
def untrained(minilm):
    """Two heads on the same language model, drawn with two seeds."""
    heads = []
    for seed in (0, 1):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            head = BertForSequenceClassification(minilm.model.config).eval()
        head.bert.load_state_dict(minilm.model.state_dict(), strict=False)
        heads.append(head)
    return heads


def logits(head, minilm, text="book"):
    with torch.inference_mode():
        return head(**minilm.tokenizer(text, return_tensors="pt")).logits


def test_e6_the_logits_of_an_untrained_head_are_noise(untrained, minilm):
    a, b = (logits(head, minilm) for head in untrained)
    assert a.shape == (1, minilm.model.config.num_labels), "as wide as the labels, whatever the model knows"
    assert not torch.allclose(a, b, atol=1e-3), "one text, two seeds, two 'features'"
    assert np.array_equal(minilm.encode(["book"], cache=False), minilm.encode(["book"], cache=False))


def test_e8_ten_of_fifteen_tags_are_one_and_the_same_to_an_english_vocabulary(minilm, e5, tags):
    ids = [tuple(minilm.tokenizer(tag)["input_ids"]) for tag in tags]
    unknown = minilm.tokenizer.unk_token_id
    assert len(tags) == 15 and sum(one[1:-1] == (unknown, unknown) for one in ids) == 10
    same = [tag for tag, one in zip(tags, ids, strict=True) if one[1:-1] == (unknown, unknown)]
    assert len(np.unique(minilm.encode(same, cache=False).round(6), axis=0)) == 1
    multilingual = [tuple(one) for one in e5.tokenize(tags)]
    assert len(set(multilingual)) == 15 and e5.tokenizer.unk_token_id not in {t for one in multilingual for t in one}


def test_e9_the_published_line_does_not_parse():
    with pytest.raises(SyntaxError):
        ast.parse("vec = model(tokenizer(label, return_tensors='pt', padding='max_length')[0].mean()")


def test_e10_with_the_bracket_mended_it_still_fails(minilm):
    with pytest.raises(AttributeError):
        minilm.tokenizer("book", return_tensors="pt")[0].mean()


def test_e11_one_number_for_each_tag(untrained, minilm):
    assert logits(untrained[0], minilm)[0].mean().shape == ()


def test_e12_padding_takes_part_in_a_naive_mean(minilm):
    def naive(length):
        batch = minilm.tokenizer("book", padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            return minilm.model(**batch).last_hidden_state.mean(1)[0]

    short, long = naive(16), naive(128)
    cosine = torch.nn.functional.cosine_similarity(short, long, dim=0)
    assert cosine < 0.99, "one text, two paddings, two vectors"
    alone, beside = minilm.encode(["book"], cache=False)[0], minilm.encode(["book", "a " * 100], cache=False)[0]
    assert np.allclose(alone, beside, atol=1e-5)


def test_e13_a_graph_is_kept_for_every_tag(minilm):
    batch = minilm.tokenizer("book", return_tensors="pt")
    assert minilm.model(**batch).last_hidden_state.requires_grad
    assert isinstance(minilm.encode(["book"], cache=False), np.ndarray)


def test_e14_e16_a_list_of_known_tags_fails_on_the_first_other_one(tags, e5):
    article = klm.load_dataset("article")
    listed = dict.fromkeys(["手机", "数码", "电子产品", "图书", "教育", "运动", "健身", "户外用品"])
    for needed, missing in ((article.items["tags"], "出版物"), (article.users["interests"], "篮球")):
        with pytest.raises(KeyError, match=missing):
            [listed[tag] for bag in needed for tag in bag]
    assert np.isfinite(e5.encode(tags, cache=False)).all()


def test_whitening_fifteen_tags_makes_them_equally_far(e5, tags):
    vectors = e5.encode(tags, cache=False)
    white = fit_whitening(vectors)(vectors).astype(float)
    assert np.allclose((white @ white.T)[np.triu_indices(15, 1)], -1 / 14, atol=1e-4)
