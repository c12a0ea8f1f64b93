"""What notebook 02 measures: users from the films that they rated, goods from tags, cheap rivals, costs, four bits.

Vectors are float [n, width], one row per item in the order of `ds.items`, unless said otherwise.
"""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from transformers import BertModel

from klm_utils.data.schema import RecDataset, title_text
from klm_utils.data.shipped import shipped
from klm_utils.data.splits import Split
from klm_utils.data.splits import split as split_of
from klm_utils.embedding.encoder import TextEncoder
from klm_utils.embedding.pooling import bag_vectors, masked_mean
from klm_utils.embedding.whitening import fit_whitening
from klm_utils.evaluation import intervals

TOPICS = ("ball", "music", "photo", "study", "cooking", "tea", "pets", "garden", "beauty", "fashion", "cars", "fishing")
SEQUELS = (  # the second goes on where the first ends, or is of its series, and their titles share no word of content
    ("Star Wars", "The Empire Strikes Back"),
    ("Star Wars", "Return of the Jedi"),
    ("The Empire Strikes Back", "Return of the Jedi"),
    ("Raiders of the Lost Ark", "Indiana Jones and the Last Crusade"),
    ("Aparajito", "The World of Apu (Apur Sansar)"),
    ("Pather Panchali", "Aparajito"),
    ("Evil Dead II", "Army of Darkness"),
    ("Clerks", "Mallrats"),
    ("The Love Bug", "Herbie Rides Again"),
    ("Jean de Florette", "Manon of the Spring (Manon des sources)"),
    ("The Hunt for Red October", "Clear and Present Danger"),
    ("Smoke", "Blue in the Face"),
    ("The Wrong Trousers", "A Close Shave"),
    ("A Grand Day Out", "The Wrong Trousers"),
)
Encode = Callable[[list[str]], np.ndarray]


def unit(vectors: np.ndarray) -> np.ndarray:
    """Each row divided by its length; a row of zeros stays."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def centred(vectors: np.ndarray, fit: np.ndarray | None = None) -> np.ndarray:
    """Rows minus the mean of `fit` (rows, or None: all of them), of length 1."""
    return unit(vectors - vectors[slice(None) if fit is None else fit].mean(0))


def letters(texts: Sequence[str], width: int = 64) -> Encode:
    """The cheap rival, fitted on some texts: n-grams of characters, reduced to `width` numbers. It knows no meaning."""
    latin = "".join(texts[:5]).isascii()
    grams = TfidfVectorizer(analyzer="char", ngram_range=(3, 5) if latin else (1, 3))
    svd = TruncatedSVD(width, random_state=0).fit(grams.fit_transform(texts))
    return lambda some: svd.transform(grams.transform(some))


def genres(ds: RecDataset) -> np.ndarray:
    """One column per tag that the items have: 1 where the item has it."""
    tags = sorted({tag for own in ds.items["tags"] for tag in own})
    return np.array([[float(tag in own) for tag in tags] for own in ds.items["tags"]])


# A user is what they rated: nothing is trained.


def tastes(split: Split) -> sparse.csr_array:
    """Label minus the user's own mean, of the rows of train, [users, items]; 0 where there is no row."""
    train, ds = split.train, split.dataset
    taste = train["label"] - train.groupby("user_id")["label"].transform("mean")
    at = ds.users.index.get_indexer(train["user_id"]), ds.items.index.get_indexer(train["item_id"])
    return sparse.csr_array((taste, at), (len(ds.users), len(ds.items)))


def in_train(split: Split) -> np.ndarray:
    """Whether an item has a row in train, bool [items]."""
    return split.dataset.items.index.isin(split.train["item_id"].unique())


def story(split: Split, user_id: int, users: np.ndarray, items: np.ndarray, k: int = 3) -> tuple[list, list]:
    """For the picture: the k films of a user that weigh most and least, and their new films, nearest first.

    Args:
        users, items: of length 1, [users, width] and [items, width].

    Returns:
        (title, weight) of the history; (title, cosine, label) of the rows of test.
    """
    ds = split.dataset
    row, titles = ds.users.index.get_loc(user_id), [title_text(title) for title in ds.items["title"]]
    taste = tastes(split)[[row]].toarray()[0]
    often = split.train["item_id"].value_counts().reindex(ds.items.index, fill_value=0).to_numpy()
    order = [at for at in np.lexsort((-often, -taste)) if taste[at]]  # of equal weights the best known first
    liked, not_liked = order[:k], [at for at in np.lexsort((-often, taste)) if taste[at]][:k]
    test = split.test[split.test["user_id"] == user_id]
    at = ds.items.index.get_indexer(test["item_id"])
    found = [(titles[i], float(items[i] @ users[row]), int(y)) for i, y in zip(at, test["label"], strict=True)]
    return [(titles[i], float(taste[i])) for i in (*liked, *not_liked)], sorted(found, key=lambda one: -one[1])


def auc(split: Split, users: np.ndarray, items: np.ndarray) -> intervals.Statistic:
    """Mean over users of the AUC among their own test rows, where a score is the product of two rows."""
    test, ds = split.test, split.dataset
    u, i = ds.users.index.get_indexer(test["user_id"]), ds.items.index.get_indexer(test["item_id"])
    scores = np.einsum("rd,rd->r", users[u], items[i]).round(7)
    return intervals.user_auc(test["user_id"].to_numpy(), test["label"].to_numpy(float), scores)


def films_worth(
    ds: RecDataset, readers: Mapping[str, np.ndarray], folds: Sequence[int], shuffles: int
) -> tuple[pd.DataFrame, np.ndarray, float]:
    """AUC of new films, a row per fold and a column per reader; with the first reader's vectors dealt out anew.

    Returns:
        table; mean over the folds of each of the shuffles, [shuffles]; rows of test over rows of train.
    """
    rows, dealt, shared = {}, np.zeros((len(folds), shuffles)), []
    for number, fold in enumerate(folds):
        split = split_of(ds, "cold_item", fold=fold)
        taste, known, rng = tastes(split), in_train(split), np.random.default_rng(fold)
        ready = {name: centred(vectors, known) for name, vectors in readers.items()}
        rows[fold] = {name: auc(split, taste @ x, x).estimate() for name, x in ready.items()}
        first = next(iter(ready.values()))
        for draw in range(shuffles):
            x = first[rng.permutation(len(first))]
            dealt[number, draw] = auc(split, taste @ x, x).estimate()
        shared.append(len(split.test) / len(split.train))
    return pd.DataFrame(rows).T.rename_axis("fold"), dealt.mean(0), float(np.mean(shared))


def gains(table: pd.DataFrame, pairs: Sequence[tuple[str, str]], shared: float) -> pd.DataFrame:
    """Mean over the folds of the difference of two columns, with its interval for other films too."""
    found = {}
    for one, other in pairs:
        minus = (table[one] - table[other]).to_numpy()
        low, high = intervals.over_splits(minus, shared)
        found[f"{one} minus {other}"] = {"mean": minus.mean(), "others low": low, "others high": high}
    return pd.DataFrame(found).T


# The shop: interests of a user against tags of an item.


def shop_vectors(split: Split, encode: Encode, column: str = "tags") -> tuple[np.ndarray, np.ndarray]:
    """Users (the mean of their interests) and items (the mean of their tags, or one text), not centred."""
    ds = split.dataset
    people = bag_vectors(encode, ds.users["interests"].tolist())
    if column == "tags":
        return people, bag_vectors(encode, ds.items["tags"].tolist())
    return people, np.asarray(encode(ds.items[column].tolist()))


def old(ds: RecDataset) -> np.ndarray:
    """Whether an item of the shop is there from the first day, bool [items]."""
    return (ds.items["launched"] == ds.items["launched"].min()).to_numpy()


def centrings(split: Split, users: np.ndarray, items: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Users and items of length 1: as they are, with one side centred, and both; means are of train and old items."""
    known, there = split.dataset.users.index.isin(split.train["user_id"]), old(split.dataset)
    u, i = unit(users), unit(items)
    cu, ci = centred(users, known), centred(items, there)
    return {"nothing": (u, i), "items": (u, ci), "users": (cu, i), "both": (cu, ci)}


def agreement(users: np.ndarray, items: np.ndarray, n: int = 200) -> float:
    """Mean rank correlation of the lists of two users, among the first n of them; 1 is one list for everybody."""
    places = np.argsort(np.argsort(users[:n] @ items.T, axis=1), axis=1)
    return float(np.asarray(np.corrcoef(places))[np.triu_indices(min(n, len(users)), 1)].mean())


def shared_top(users: np.ndarray, items: np.ndarray, n: int = 200, k: int = 10) -> float:
    """How many of their first k items two users share, the mean over the pairs among the first n users."""
    first = np.argsort(-(users[:n] @ items.T), axis=1)[:, :k]
    listed = np.zeros((len(first), len(items)))
    np.put_along_axis(listed, first, 1, axis=1)
    return float((listed @ listed.T)[np.triu_indices(len(first), 1)].mean())


def shop_worth(shops: Mapping[str, RecDataset], encoders: Mapping[str, TextEncoder], shuffles: int) -> dict[str, Any]:
    """For each row of the picture: AUC with its interval for other users, and the shuffles of one of them."""
    found, dealt = {}, np.zeros(shuffles)
    for language, ds in shops.items():
        split, there = split_of(ds, "temporal"), old(ds)
        words = sorted({tag for own in ds.items["tags"][there] for tag in own})
        for name, encode in ({n: e.encode for n, e in encoders.items()} | {"letters": letters(words)}).items():
            users, items = centrings(split, *shop_vectors(split, encode))["both"]
            stat = auc(split, users, items)
            found[f"{name}, {language}"] = (stat.estimate(), *intervals.interval(stat, n_boot=500))
            if (name, language) == ("e5", "zh"):
                rng = np.random.default_rng(0)
                deals = [items[rng.permutation(len(items))] for _ in range(shuffles)]
                dealt = np.array([auc(split, users, deal).estimate() for deal in deals])
    return {"rows": found, "dealt": dealt}


def share_a_word(split: Split) -> float:
    """The share of the test rows whose user names a tag of the item among the interests."""
    ds = split.dataset
    tags, likes = (
        dict(zip(t.index, map(set, t[c]), strict=True)) for t, c in ((ds.items, "tags"), (ds.users, "interests"))
    )
    rows = zip(split.test["user_id"], split.test["item_id"], strict=True)
    return float(np.mean([bool(likes[user] & tags[item]) for user, item in rows]))


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


def yardstick(encoder: TextEncoder, words: Sequence[str], topic: np.ndarray) -> dict[str, np.ndarray]:
    """Cosines of pairs of words (other topic, same topic), and of each word with itself without the prefix."""
    vectors, bare = encoder.encode(words), TextEncoder(encoder.tokenizer, encoder.model, encoder.name, prefix="")
    upper = np.triu_indices(len(words), 1)
    cosine, same = (vectors @ vectors.T)[upper], (topic[:, None] == topic)[upper]
    itself = (vectors * bare.encode(words)).sum(1)
    return {"two topics": cosine[~same], "one topic": cosine[same], "same word, no prefix": itself}


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


def megabytes(model: torch.nn.Module) -> dict[str, float]:
    """Megabytes of the table of tokens, and of all other parameters."""
    table = model.get_input_embeddings().weight.numel()  # type: ignore[operator]
    rest = sum(p.numel() for p in model.parameters()) - table
    return {"table of tokens": table * 4e-6, "all else": rest * 4e-6}


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


# Attention.


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


def left_only(encoder: TextEncoder) -> TextEncoder:
    """The same weights, but each token sees itself and what is on its left, as in a decoder."""
    config = type(encoder.model.config).from_dict(encoder.model.config.to_dict() | {"is_decoder": True})
    model = BertModel(config, add_pooling_layer=False)
    model.load_state_dict(encoder.model.state_dict())
    return TextEncoder(encoder.tokenizer, model.eval(), encoder.name, max_length=encoder.max_length)


def movement(encoder: TextEncoder, one: str, other: str) -> tuple[list[str], np.ndarray]:
    """Tokens of the first text, and how far each token's vector is from that at the same place of the second."""
    hidden, _, tokens = hidden_states(encoder, [one, other])
    return tokens[0], (hidden[0] - hidden[1]).norm(dim=1).numpy()


def head_lottery(encoder: TextEncoder, words: Sequence[str], draws: int, seed: int = 0, labels: int = 3) -> np.ndarray:
    """One number a word: the mean of the logits of an untrained classification head, drawn anew each time.

    The head is that of BertForSequenceClassification: a layer with tanh on the first token, then `labels` logits, all
    weights normal with standard deviation 0.02. Returns [draws, words].
    """
    first = torch.stack([hidden_states(encoder, [word])[0][0, 0] for word in words])
    draw, width = torch.Generator().manual_seed(seed), first.shape[1]
    found = []
    for _ in range(draws):
        pooler, head = (0.02 * torch.randn(n, width, generator=draw) for n in (width, labels))
        found.append((torch.tanh(first @ pooler.T) @ head.T).mean(1))
    return torch.stack(found).numpy()
