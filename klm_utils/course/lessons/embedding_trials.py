"""What notebook 02 measures of a language model: topics and neighbours, poolings, costs, four bits, attention."""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from textwrap import wrap
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml

from klm_utils.course.lessons.embedding_worth import centred, unit
from klm_utils.data.schema import RecDataset
from klm_utils.data.shipped import shipped
from klm_utils.embedding.encoder import TextEncoder
from klm_utils.embedding.pooling import masked_mean
from klm_utils.embedding.whitening import fit_whitening

TOPICS = ("ball", "music", "photo", "study", "cooking", "tea", "pets", "garden", "beauty", "fashion", "cars", "fishing")
SEQUELS = (  # the second goes on where the first ends, or is of its series, and their titles share no word of content
    ("Star Wars", "The Empire Strikes Back"),
    ("Star Wars", "Return of the Jedi"),
    ("The Empire Strikes Back", "Return of the Jedi"),
    ("Raiders of the Lost Ark", "Indiana Jones and the Last Crusade"),
    ("Aparajito", "The World of Apu (Apur Sansar)"),
    ("Pather Panchali", "Aparajito"),
    ("Pather Panchali", "The World of Apu (Apur Sansar)"),
    ("Evil Dead II", "Army of Darkness"),
    ("Clerks", "Mallrats"),
    ("The Love Bug", "Herbie Rides Again"),
    ("Jean de Florette", "Manon of the Spring (Manon des sources)"),
    ("The Hunt for Red October", "Clear and Present Danger"),
    ("Smoke", "Blue in the Face"),
    ("The Wrong Trousers", "A Close Shave"),
    ("A Grand Day Out", "The Wrong Trousers"),
    ("A Grand Day Out", "A Close Shave"),
)
# Sixty tags in twelve topics: do neighbours belong together?


def sixty() -> tuple[dict[str, list[str]], np.ndarray]:
    """Five tags of each of `TOPICS` in both languages, and the topic of each, [60]."""
    topics = yaml.safe_load(shipped("shop/source/vocabulary.yaml").read_text("utf8"))["topics"]
    zh = [tag for topic in TOPICS for tag in list(topics[topic]["tags"])[:5]]
    english = {tag: word for topic in TOPICS for tag, word in topics[topic]["tags"].items()}
    return {"zh": zh, "en": [english[tag] for tag in zh]}, np.repeat(TOPICS, 5)


def own_topic(vectors: np.ndarray, topic: np.ndarray) -> np.ndarray:
    """For each row 1 if its nearest other row is of its topic, else 0; ties count in part. [n]."""
    rows = unit(np.asarray(vectors, dtype=float))
    cosine = np.round(rows @ rows.T, 6)
    np.fill_diagonal(cosine, -2)
    nearest = cosine == cosine.max(1, keepdims=True)
    return (nearest & (topic[:, None] == topic)).sum(1) / nearest.sum(1)


def choice(encoders: Mapping[str, TextEncoder], shops: Mapping[str, RecDataset], texts: int = 16) -> pd.DataFrame:
    """Unknown tokens, tokens a text, own topic with its interval, and speed, of each model and language."""
    words, topic = sixty()
    rows = {}
    for name, encoder in encoders.items():
        for language, shop in shops.items():
            read = shop.items["description"].tolist()
            own = own_topic(encoder.encode(words[language]), topic)
            ids = encoder.tokenize(read)
            encoder.encode(read[-4:], cache=False)  # warm up
            took = seconds(partial(encoder.encode, read[:texts], cache=False))
            rows[name, language] = {
                "unknown tokens": np.mean([t == encoder.tokenizer.unk_token_id for one in ids for t in one]),
                "tokens a text": np.mean([len(one) for one in ids]),
                **dict(zip(("own topic", "low", "high"), by_topic(own), strict=True)),
                "texts a second": texts / took,
            }
    return (
        pd.DataFrame(rows)
        .T.round({"tokens a text": 0, "texts a second": 0})
        .astype({"tokens a text": int, "texts a second": int})
    )


def poolings(encoder: TextEncoder, words: Sequence[str], topic: np.ndarray) -> dict[str, float]:
    """The share of words with a neighbour of their own topic, where a vector is one token's or the mean."""
    hidden, mask, _ = hidden_states(encoder, words)
    last = hidden[torch.arange(len(hidden)), mask.sum(1) - 1]
    vectors = {"first token": hidden[:, 0], "last token": last, "mean": masked_mean(hidden, mask)}
    return {name: float(own_topic(v.numpy(), topic).mean()) for name, v in vectors.items()}


def after_whitening(encoder: TextEncoder, fits: Mapping[str, tuple], words: Sequence[str], topic: np.ndarray) -> dict:
    """Own topic after a map minus before, with its interval for other topics: (difference, low, high) each.

    Args:
        fits: name -> (texts to fit on, and what `fit_whitening` wants besides).
    """
    own = encoder.encode(words)
    before = own_topic(own, topic)
    moved = {name: fit_whitening(encoder.encode(texts), *how)(own) for name, (texts, *how) in fits.items()}
    return {name: by_topic(own_topic(vectors, topic) - before) for name, vectors in moved.items()}


def yardstick(encoder: TextEncoder, words: Sequence[str], topic: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """Cosines of pairs of words (other topic, same topic), and of each word with itself without the prefix.

    Returns:
        "as they come" and "centred" (each set of vectors by its own mean) -> what is paired -> cosines.
    """
    raw = encoder.encode(words), without_prefix(encoder).encode(words)
    upper, found = np.triu_indices(len(words), 1), {}
    same = (topic[:, None] == topic)[upper]
    for way, (own, without) in {"as they come": raw, "centred": [centred(v) for v in raw]}.items():
        cosine = (own @ own.T)[upper]
        found[way] = {"two topics": cosine[~same], "one topic": cosine[same]}
        found[way]["same word, no prefix"] = (own * without).sum(1)
    return found


def without_prefix(encoder: TextEncoder) -> TextEncoder:
    """The same encoder that puts nothing in front of a text."""
    return TextEncoder(encoder.tokenizer, encoder.model, encoder.name, prefix="")


def by_topic(values: np.ndarray, draws: int = 2000) -> tuple[float, float, float]:
    """Mean of one value per word, and its interval for other topics (bootstrap over the twelve)."""
    topics = values.reshape(len(TOPICS), -1).mean(1)
    picks = np.random.default_rng(0).integers(0, len(topics), (draws, len(topics)))
    low, high = np.quantile(topics[picks].mean(1), [0.025, 0.975])
    return float(values.mean()), float(low), float(high)


def neighbours(vectors: np.ndarray, names: Sequence[str], name: str, k: int) -> list[tuple[str, float]]:
    """The k nearest other rows by cosine, each name once, with the cosine."""
    rows = unit(vectors)
    cosine = rows @ rows[list(names).index(name)]
    best: dict[str, float] = {}
    for at in np.argsort(-cosine):
        if names[at] != name:
            best.setdefault(names[at], float(cosine[at]))
    return list(best.items())[:k]


def sequels(readers: Mapping[str, np.ndarray], titles: Sequence[str]) -> dict[str, dict[str, int]]:
    """For each pair of `SEQUELS` the rank of the second among the neighbours of the first, 1 is nearest."""
    found: dict[str, dict[str, int]] = {}
    for one, other in SEQUELS:
        at, to = titles.index(one), titles.index(other)
        cosine = {name: unit(vectors) @ unit(vectors)[at] for name, vectors in readers.items()}
        rest = np.arange(len(titles)) != at
        name = f"{one} → {other}".replace(" and the Last Crusade", "").replace(" (Apur Sansar)", "")
        found[name.partition(" (")[0]] = {n: int((c[rest] > c[to]).sum()) + 1 for n, c in cosine.items()}
    return found


# Time and memory.


def seconds(work: Callable[[], object], times: int = 1) -> float:
    """The shortest of several runs: the others were disturbed."""
    took = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        took.append(time.perf_counter() - start)
    return min(took)


def ways(encoder: TextEncoder, texts: list[str], sample: int, batch: int = 16, times: int = 2) -> dict[str, float]:
    """Milliseconds a text of five ways to encode, the shortest of `times` runs; one by one only `sample` texts."""

    def forward(some: list[str], **padding: Any) -> torch.Tensor:
        read = encoder.tokenizer(some, truncation=True, max_length=512, return_tensors="pt", **padding)
        read = read.to(encoder.model.device)
        with torch.inference_mode():
            return masked_mean(encoder.model(**read).last_hidden_state, read["attention_mask"])

    few = texts[:: max(1, len(texts) // sample) | 1][:sample]  # an odd step: titles and descriptions take turns
    encoder.encode(texts)  # fills the cache
    work = {
        "one by one, padded to 512": (few, lambda: [forward([t], padding="max_length") for t in few]),
        "one by one": (few, lambda: [forward([t]) for t in few]),
        "batches as they come": (
            texts,
            lambda: [forward(texts[i : i + batch], padding=True) for i in range(0, len(texts), batch)],
        ),
        "sorted by length": (texts, lambda: encoder.encode(texts, batch, cache=False)),
        "from the cache": (texts, lambda: encoder.encode(texts)),
    }
    return {name: 1000 * seconds(run, times) / len(some) for name, (some, run) in work.items()}


# Four bits.


def four_bits(weights: np.ndarray) -> np.ndarray:
    """What is left of weights in Q4_0: blocks of 32 share a scale, each weight is one of 16 steps of it.

    The sizes must be a multiple of 32. Source: the layout in `klm_utils.embedding.e5`; rounding as in llama.cpp.
    """
    blocks = weights.reshape(-1, 32)
    largest = blocks[np.arange(len(blocks)), np.abs(blocks).argmax(1)]
    scale = (largest / -8).astype(np.float16).astype(np.float32)[:, None]
    steps = np.floor(np.divide(blocks, scale, out=np.zeros_like(blocks), where=scale != 0) + 8.5)
    return ((np.clip(steps, 0, 15) - 8) * scale).reshape(weights.shape)


def in_four_bits(encoder: TextEncoder) -> TextEncoder:
    """A copy of the encoder whose matrices went through `four_bits`: table of tokens and layers."""
    other = encoder.copy()
    for name, weights in other.model.named_parameters():
        if weights.ndim == 2 and "position" not in name and "token_type" not in name:
            weights.data = torch.from_numpy(four_bits(weights.detach().cpu().numpy())).to(weights.device)
    return other


def same_neighbour(one: np.ndarray, other: np.ndarray) -> float:
    """The share of the rows that have the same nearest row in both sets of vectors, each centred."""
    first, second = (np.argmax(v @ v.T - 2 * np.eye(len(v)), axis=1) for v in (centred(one), centred(other)))
    return float((first == second).mean())


# What is inside.


def way_of(encoder: TextEncoder, title: str, text: str) -> list[tuple[str, str]]:
    """The way of a text to its vector, for the picture: (what it is, the thing itself)."""
    tokens, vector = encoder.tokenizer.tokenize(text), encoder.encode([text])[0]
    return [
        ("a film", "\n".join(wrap(title, 16))),
        ("a sentence", "\n".join(wrap(text, 16))),
        (f"{len(tokens) + 2} tokens", "\n".join([*tokens[:4], "..."])),
        ("a vector for each", f"{len(tokens) + 2} x {len(vector)}\nnumbers"),
        ("mean, length 1", "\n".join([*(f"{x:+.2f}" for x in vector[:3]), "...", f"({len(vector)})"])),
    ]


def hidden_states(encoder: TextEncoder, texts: Sequence[str], width: int | None = None) -> tuple:
    """Last hidden states [texts, tokens, dim], mask [texts, tokens] and tokens of each text, padded to `width`."""
    options: dict[str, Any] = {"padding": "max_length", "max_length": width} if width else {"padding": True}
    batch = encoder.tokenizer([encoder.prefix + text for text in texts], return_tensors="pt", **options)
    batch = batch.to(encoder.model.device)
    with torch.inference_mode():
        hidden = encoder.model(**batch).last_hidden_state.cpu()
    return (
        hidden,
        batch["attention_mask"].cpu(),
        [encoder.tokenizer.convert_ids_to_tokens(row) for row in batch["input_ids"]],
    )


def token_table(encoder: TextEncoder, texts: Sequence[str]) -> np.ndarray:
    """The encoder without its layers: the mean of each text's rows in the table of tokens, [texts, width]."""
    rows = encoder.model.get_input_embeddings().weight.detach().cpu().numpy()
    special = set(encoder.tokenizer.all_special_ids)
    ids = [[token for token in one if token not in special] for one in encoder.tokenize(texts)]
    return np.stack([rows[one].mean(axis=0) for one in ids])


def head_inputs(encoder: TextEncoder, text: str, layer: int, head: int) -> tuple:
    """What one head of a BERT compares: queries, keys and values, [tokens, width of a head], and the tokens."""
    batch = encoder.tokenizer([text], return_tensors="pt").to(encoder.model.device)
    attention = encoder.model.encoder.layer[layer].attention.self
    width = attention.attention_head_size
    own = slice(head * width, (head + 1) * width)
    with torch.inference_mode():
        x = encoder.model(**batch, output_hidden_states=True).hidden_states[layer][0]
        q, k, v = (part(x)[:, own].cpu() for part in (attention.query, attention.key, attention.value))
    return q, k, v, encoder.tokenizer.convert_ids_to_tokens(batch["input_ids"][0])


def head_weights(encoder: TextEncoder, text: str, layer: int, head: int) -> torch.Tensor:
    """The library's own attention weights of one head, [tokens, tokens]; a row sums to 1."""
    model = copy.deepcopy(encoder.model)
    model.set_attn_implementation("eager")
    with torch.inference_mode():
        out = model(**encoder.tokenizer([text], return_tensors="pt").to(model.device), output_attentions=True)
    return out.attentions[layer][0, head].cpu()
