import pytest
import torch

import klm_utils as klm
from klm_utils.course.lessons.tiny import train_tiny_gpt
from klm_utils.embedding import TextEncoder
from klm_utils.knowledge.templates import item_texts


@pytest.fixture(scope="module")
def texts():
    return item_texts(klm.load_dataset("shop"), "zh", ("title", "tags", "category", "description"))


@pytest.fixture(scope="module")
def trained(texts):
    return train_tiny_gpt(texts, steps=60)


def test_it_learns_and_reads_from_left_to_right(trained, texts):
    tokenizer, model, losses = trained
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])
    enc = TextEncoder(tokenizer, model.transformer, pooling="last", max_length=64)
    ids = enc.tokenize(["小米手机"])[0]
    with torch.inference_mode():
        short, long = (model.transformer(torch.tensor([x])).last_hidden_state[0] for x in (ids, [*ids, 5, 6]))
    assert torch.allclose(short, long[: len(ids)], atol=1e-5), "what comes later changes nothing before it"
    assert enc.encode(texts[:3], cache=False).shape == (3, 96)


def test_any_text_comes_back_from_its_tokens(trained):
    tokenizer = trained[0]
    for text in ("小米手机。", "naïve Ω 🙂", ""):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_seeds_decide_and_the_global_generator_is_left_alone(texts):
    before = torch.get_rng_state()
    a, b, c = (train_tiny_gpt(texts[:50], steps=3, seed=seed)[2] for seed in (0, 0, 1))
    assert a == b != c
    assert torch.equal(before, torch.get_rng_state())


def test_too_little_text_is_refused():
    with pytest.raises(klm.DataError, match="too little text"):
        train_tiny_gpt(["手机"])
    with pytest.raises(klm.ConfigError, match="steps"):
        train_tiny_gpt(["手机"], steps=0)


def test_a_bare_text_or_a_strange_seed_is_refused():
    with pytest.raises(klm.DataError, match="list"):
        train_tiny_gpt("one long text " * 100)
    with pytest.raises(klm.ConfigError, match="seed"):
        train_tiny_gpt(["手机"], seed=-1)
