import io
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoConfig, AutoModel

import klm_utils as klm
from klm_utils.data import assets
from klm_utils.embedding import TextEncoder, encoder
from klm_utils.errors import ConfigError, DataError
from klm_utils.progress import Bar

ROOT = Path(encoder.__file__).parents[2]
FILMS = [
    "Toy Story (1995). Genres: Animation, Children's, Comedy.",
    "GoldenEye (1995). Genres: Action, Adventure, Thriller.",
    "Fargo (1996)",
    "",
    "A word " * 400,
    "Fargo (1996)",
    "手机 🎬",
]


def test_vectors_are_those_of_the_textbook_computation(minilm):
    """Masked mean, L2, 256 tokens: the convention of sentence-transformers for this model, one text at a time."""
    for text, vector in zip(FILMS, minilm.encode(FILMS, cache=False), strict=True):
        inputs = minilm.tokenizer(text, truncation=True, max_length=256, return_tensors="pt")
        with torch.no_grad():
            mean = minilm.model(**inputs).last_hidden_state[0].mean(0)
        np.testing.assert_allclose(vector, (mean / mean.norm()).numpy(), atol=1e-5)


def test_vectors_are_those_of_sentence_transformers_on_200_mixed_texts(minilm):
    shops = [klm.load_dataset("shop", language=language).items for language in ("en", "zh")]
    texts = [*FILMS, *klm.load_dataset("movielens-100k").items["title"][:60], *shops[0]["description"][:60]]
    texts += [*shops[1]["title"][:40], *(" ".join(shops[0]["description"][i : i + 9]) for i in range(40))]  # long ones
    texts = list(dict.fromkeys(texts))[-200:]
    theirs = SentenceTransformer(str(assets.fetch("minilm")), device="cpu").encode(texts, show_progress_bar=False)
    assert len(texts) == 200 and max(map(len, minilm.tokenize(texts))) == 256
    np.testing.assert_allclose(minilm.encode(texts, cache=False), theirs, atol=1e-5)


def test_order_duplicates_and_batches_change_nothing(minilm, count_batches):
    sizes = count_batches(minilm.model)
    alone = np.concatenate([minilm.encode([text], cache=False) for text in FILMS])
    del sizes[:]
    for batch_size in (2, 64):
        np.testing.assert_allclose(minilm.encode(FILMS, batch_size, cache=False), alone, atol=1e-5)
        np.testing.assert_allclose(minilm.encode(FILMS[::-1], batch_size, cache=False), alone[::-1], atol=1e-5)
    assert [rows for rows, _ in sizes[:3]] == [2, 2, 2], "seven texts, six of them different"
    assert max(tokens for _, tokens in sizes[:2]) < 30, "the long text must not pad the short ones"
    assert np.array_equal(minilm.encode(FILMS, cache=False)[2], minilm.encode(FILMS, cache=False)[5])


def test_strange_texts_give_finite_unit_vectors(minilm):
    texts = ["", " ", "\n", "\x00", "a" * 20_000, "词" * 20_000, "🎬" * 50, "👩‍👩‍👧", "مرحبا"]
    vectors = minilm.encode(texts, cache=False)
    assert vectors.dtype == np.float32 and vectors.shape == (len(texts), minilm.dim)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_an_empty_list_gives_no_rows(minilm):
    assert minilm.encode([]).shape == (0, 384) and minilm.encode([]).dtype == np.float32


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_a_left_to_right_model_that_pads_on_the_left(tiny, pooling):
    """No special tokens, so "" has no token at all; positions must not depend on the company of a text."""
    enc = TextEncoder(*tiny, pooling=pooling, max_length=16)
    assert enc.tokenizer.padding_side == "left"
    texts = ["red car", "", "big blue phone book red green shoe", "car"]
    alone = np.concatenate([enc.encode([text], cache=False) for text in texts])
    np.testing.assert_allclose(enc.encode(texts, cache=False), alone, atol=1e-5)
    assert np.isfinite(alone).all()


def test_the_last_token_is_the_one_that_has_seen_the_text(small):
    a, b, c = small.encode(["red car", "green car", "red car"], cache=False)
    assert not np.allclose(a, b, atol=1e-3) and np.array_equal(a, c)


def test_prefix_and_normalisation_are_applied(tiny):
    plain = TextEncoder(*tiny, max_length=16, normalize=False)
    prefixed = TextEncoder(*tiny, max_length=16, normalize=False, prefix="big ")
    np.testing.assert_allclose(prefixed.encode(["car"], cache=False), plain.encode(["big car"], cache=False), atol=1e-6)
    assert abs(np.linalg.norm(plain.encode(["car"], cache=False)) - 1) > 0.1
    assert TextEncoder(*tiny, "e5", max_length=16).prefix == "query: " and plain.prefix == ""


@pytest.mark.parametrize(
    "texts, found",
    [(["a", None], "position 1"), (["a", "b", 3.5], "position 2"), ([float("nan")], "position 0"),
     (["a", b"b"], "position 1"), (["half \ud83d"], "position 0"), ("a text", "texts"), (None, "texts"),
     (pd.DataFrame({"title": ["car"]}), "texts"), ({"car": 1}, "texts"), (np.array([["car"]]), "texts")],
)  # fmt: skip
def test_what_is_not_a_list_of_texts_is_refused_with_its_place(small, texts, found):
    with pytest.raises(DataError) as caught:
        small.encode(texts)
    assert found in caught.value.where


@pytest.mark.parametrize(
    "settings, expected",
    [({"pooling": "max"}, "'mean' or 'cls' or 'last'"), ({"pooling": ["mean"]}, "'mean'"),
     ({"normalize": "no"}, "True"), ({"normalize": None}, "False"), ({"name": None}, "text"),
     ({"name": ["minilm"]}, "text"), ({"max_length": 33}, "from 1 to 32"), ({"max_length": 0}, "from 1 to 32"),
     ({"max_length": "9"}, "whole number"), ({"prefix": 3}, "text"), ({"device": "cuda:99"}, "auto")],
)  # fmt: skip
def test_settings_without_meaning_are_refused(tiny, settings, expected):
    with pytest.raises(ConfigError) as caught:
        TextEncoder(*tiny, **({"max_length": 16} | settings))
    assert expected in caught.value.expected


def test_a_tokenizer_and_a_model_are_wanted_in_this_order(tiny):
    tokenizer, model = tiny
    for wrong in ((None, model), (tokenizer, None), (model, tokenizer), ("minilm", model), (tokenizer, "minilm")):
        with pytest.raises(ConfigError, match="load_backbone"):
            TextEncoder(*wrong, max_length=16)


def test_numbers_of_numpy_serve_as_settings(tiny):
    enc = TextEncoder(*tiny, max_length=np.int64(16), normalize=np.bool_(False))
    assert enc.fingerprint == TextEncoder(*tiny, max_length=16, normalize=False).fingerprint
    assert enc.encode(["car"], batch_size=np.int64(2), cache=False).shape == (1, 16)


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused_before_any_text(tiny):
    tokenizer, model = tiny
    tokenizer.add_tokens(["bicycle"])
    with pytest.raises(ConfigError, match="another model") as caught:
        TextEncoder(tokenizer, model, max_length=16)
    assert (caught.value.found, caught.value.expected) == ("token 12", "tokens 0 to 11")


ROBERTA = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "hidden_size": 32}


@pytest.mark.parametrize(
    ("kind", "places", "settings"),
    [("roberta", 32, {}), ("xlm-roberta", 32, {}), ("camembert", 32, {}), ("mpnet", 32, {}), ("data2vec-text", 32, {}),
     ("roberta-prelayernorm", 32, {}), ("roberta", 29, {"pad_token_id": 4}),
     ("longformer", 32, {"attention_window": [4]}), ("bert", 34, {}), ("electra", 34, {}), ("distilbert", 34, {})],
)  # fmt: skip
def test_the_longest_text_has_a_place_for_each_token(tiny, kind, places, settings):
    """34 rows of positions, of which RoBERTa and its kin leave the first padding_idx + 1 unused."""
    tokenizer = tiny[0]
    tokenizer.model_max_length = 10**9
    settings = ROBERTA | {"vocab_size": 12, "max_position_embeddings": 34, "pad_token_id": 1} | settings
    model = AutoModel.from_config(AutoConfig.for_model(kind, **settings))
    with pytest.raises(ConfigError, match=f"from 1 to {places}, the positions"):
        TextEncoder(tokenizer, model, max_length=places + 1)
    vectors = TextEncoder(tokenizer, model, max_length=places).encode(["red " * 100, "car"], cache=False)
    assert vectors.shape == (2, 32) and np.isfinite(vectors).all()


def test_a_model_without_attention_mask_is_told(tiny, caplog):
    TextEncoder(*tiny, max_length=16)
    assert caplog.text == ""
    fnet = AutoModel.from_config(AutoConfig.for_model("fnet", vocab_size=12, hidden_size=32, num_hidden_layers=1))
    TextEncoder(tiny[0], fnet, max_length=16)
    assert "FNetModel takes no attention mask" in caplog.text


@pytest.mark.parametrize("batch_size", [0, -1, 2.0, True, None])
def test_a_batch_size_without_meaning_is_refused(small, batch_size):
    with pytest.raises(ConfigError, match="batch_size"):
        small.encode(["car"], batch_size=batch_size)


@pytest.mark.parametrize("kind", [list, tuple, iter, np.array, pd.Series, pd.Index, lambda x: dict.fromkeys(x).keys()])
def test_any_row_of_texts_will_do(small, kind):
    np.testing.assert_array_equal(
        small.encode(kind(["red car", "shoe"]), cache=False), small.encode(["red car", "shoe"], cache=False)
    )


def test_a_huge_batch_is_one_batch(small, count_batches):
    sizes = count_batches(small.model)
    for batch_size in (10**6, 2**70):
        assert small.encode(["car", "shoe", "red"], batch_size, cache=False).shape == (3, 16)
    assert [rows for rows, _ in sizes] == [3, 3]


def test_whatever_changes_a_vector_changes_the_fingerprint(tiny):
    tokenizer, model = tiny
    base = {"pooling": "last", "max_length": 16, "normalize": True, "prefix": ""}
    changes = [{}, {"pooling": "mean"}, {"max_length": 8}, {"normalize": False}, {"prefix": "red "}]
    prints = [TextEncoder(tokenizer, model, **(base | change)).fingerprint for change in changes]
    enc = TextEncoder(tokenizer, model, **base)
    with torch.no_grad():
        next(model.parameters()).data[0, 0] += 1e-6
    prints.append(enc.fingerprint)
    model.config.layer_norm_epsilon = 0.5
    prints.append(enc.fingerprint)
    tokenizer.add_tokens(["phonebook"])
    prints.append(enc.fingerprint)
    assert len(set(prints)) == len(prints)
    enc.encode(["red car " * 20], cache=False)
    assert enc.fingerprint == prints[-1], "using the encoder changes nothing"


def test_encoding_leaves_the_training_mode_as_it_was(small):
    small.model.train()
    small.model.h[0].eval()
    one, two = (small.encode(["red car"], cache=False) for _ in range(2))
    np.testing.assert_array_equal(one, two)  # no dropout
    assert small.model.training and small.model.h[1].training and not small.model.h[0].training


def test_a_copy_is_trained_alone(small):
    before, other = small.encode(["red car"], cache=False), small.copy()
    assert other.fingerprint == small.fingerprint
    loss = other.forward(other.tokenize(["red car", "shoe"]))[:, 0].sum()
    loss.backward()
    assert all(parameter.grad is None for parameter in small.model.parameters())
    torch.optim.SGD(other.model.parameters(), lr=1.0).step()
    np.testing.assert_array_equal(small.encode(["red car"], cache=False), before)
    assert not np.allclose(other.encode(["red car"], cache=False), before, atol=1e-4)


def test_forward_and_encode_agree(small):
    with torch.no_grad():
        direct = small.forward(small.tokenize(["red car", "a big blue phone"])).numpy()
    np.testing.assert_allclose(small.encode(["red car", "a big blue phone"], cache=False), direct, atol=1e-6)


def test_a_long_encoding_tells_how_far_it_is_and_stops_when_it_is_interrupted(small, monkeypatch):
    bars = []
    monkeypatch.setattr(encoder.progress, "Bar", lambda *args, **kwargs: bars.append(Bar(*args, **kwargs)) or bars[-1])
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", screen)
    small.encode(["car", "red", "big"], batch_size=1, cache=False)
    assert bars[0].n == bars[0].total == 3 and bars[0].desc == "encoding" and screen.getvalue() == "", "a quick one"
    small.model.register_forward_pre_hook(lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        small.encode(["car"], cache=False)
    assert bars[1].disable, "closed"


def test_the_public_face(minilm):
    assert repr(minilm).startswith("TextEncoder('minilm', pooling='mean'")
    assert (minilm.name, minilm.dim, minilm.prefix, len(minilm.fingerprint)) == ("minilm", 384, "", 64)
