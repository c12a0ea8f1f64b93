import re
import subprocess
import sys
from collections import Counter, defaultdict

import numpy as np
import pandas as pd
import pytest

import klm_utils as klm
from klm_utils.data import shop
from klm_utils.data.shop.world import DAY, NEW_AFTER, START, uniform
from klm_utils.evaluation import metrics

LANGUAGES = ("zh", "en")


@pytest.fixture(scope="module", params=LANGUAGES)
def ds(request):
    return klm.load_dataset("shop", language=request.param)


@pytest.fixture(scope="module")
def raw(checkout):
    return {
        p.name.split(".")[0]: pd.read_csv(p, keep_default_na=False) for p in (checkout / "data/shop").glob("*.csv*")
    }


def test_the_script_writes_the_committed_files_byte_for_byte(checkout, tmp_path):
    subprocess.run([sys.executable, str(checkout / "data/shop/make.py"), str(tmp_path)], check=True)
    made = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert len(made) >= 10
    for path, content in made.items():
        assert (checkout / "data/shop" / path).read_bytes() == content, path
    assert sum(p.stat().st_size for p in (checkout / "data/shop").rglob("*") if p.is_file()) < 5e6


def test_the_stream_is_the_one_that_was_written_down():
    """Numbers of the first release: whoever changes the stream changes every committed table."""
    assert uniform(0, "x", np.arange(3)).tolist() == STREAM
    draws = uniform(1, "y", np.arange(300)[:, None], np.arange(300))
    assert draws.min() >= 0 and draws.max() < 1 and abs(draws.mean() - 0.5) < 0.005
    assert abs(np.corrcoef(draws[:, 1:].ravel(), draws[:, :-1].ravel())[0, 1]) < 0.01


STREAM = [0.37148530449265427, 0.17985375012928229, 0.596449259354638]


def test_size(ds):
    assert len(ds.items) == 600 and len(ds.users) == 2000
    assert 110_000 < len(ds.interactions) < 130_000
    assert ds.items["category"].nunique() >= 13 and ds.items["subcategory"].nunique() >= 41
    tags = {tag for tags in ds.items["tags"] for tag in tags}
    assert len(tags) >= 300 and ds.items["tags"].map(len).between(3, 6).all()
    assert ds.users["interests"].map(len).between(3, 6).all()
    assert ds.items["title"].is_unique and ds.items["description"].is_unique
    assert len(ds.triples.drop_duplicates()) >= 3000


def test_the_first_items_and_users_are_those_of_the_article():
    ours, article = klm.load_dataset("shop", language="zh"), klm.load_dataset("article")
    assert ours.items.loc[[1, 2, 3], ["title", "tags"]].equals(article.items[["title", "tags"]])
    for column in ("age", "gender", "interests"):
        assert ours.users.loc[[1, 2, 3], column].to_list() == article.users[column].to_list()


def test_no_sentence_skeleton_in_more_than_two_percent_of_the_items(raw):
    items = raw["items"]
    for language in LANGUAGES:
        words = {w for text in items[f"tags_{language}"] for w in text.split("|")} | set(items[f"brand_{language}"])
        words |= set(items[f"title_{language}"])
        mask = re.compile("|".join(re.escape(w) for w in sorted(words, key=len, reverse=True)) + r"|\d+", re.I)
        seen = defaultdict(set)
        for row, text in zip(items["item_id"], items[f"description_{language}"], strict=True):
            for sentence in re.findall(r"[^。！？.!?]+[。！？.!?]", text):
                seen[mask.sub("_", sentence.strip())].add(row)
        assert len(seen) > 400
        assert max(map(len, seen.values())) <= 12


def test_a_user_sees_an_item_once_and_nothing_before_it_is_there(ds):
    log = ds.interactions
    assert not log.duplicated(["user_id", "item_id"]).any() and not log.duplicated(["user_id", "timestamp"]).any()
    assert (log["timestamp"] >= log["item_id"].map(ds.items["launched"])).all()
    assert (log["timestamp"] >= log["user_id"].map(ds.users["joined"])).all()
    assert log["timestamp"].between(START, START + 61 * DAY).all()
    new = ds.users["joined"] > START
    assert new.sum() == 200 and (ds.users["joined"][new] >= START + NEW_AFTER * DAY).all()


def test_purchases_follow_the_stated_probability(ds):
    log = ds.interactions
    assert np.array_equal(ds.optimum, shop.probability(log["user_id"], log["item_id"], log["timestamp"]))
    z = (log["label"] - ds.optimum) / np.sqrt(ds.optimum * (1 - ds.optimum))
    for part in (log["user_id"] % 7, log["item_id"] % 7, log["position"], log["timestamp"] // DAY % 10):
        sums = z.groupby(part).sum() / np.sqrt(z.groupby(part).size())
        assert sums.abs().max() < 4, "within chance of the true probabilities, in every slice"
    assert metrics.ece(log["label"], ds.optimum) < 0.01


def test_both_simulations_of_seed_0_are_one():
    made, read = shop.resimulated(0, "en"), klm.load_dataset("shop", language="en")
    assert made.interactions[read.interactions.columns].equals(read.interactions) and np.array_equal(
        made.optimum, read.optimum
    )


def test_shown_with_the_stated_propensity():
    """Weighting by 1 / propensity recovers what the log is silent about: the share of items of each kind."""
    ds = klm.load_dataset("shop", language="en")
    log = ds.interactions[ds.interactions["timestamp"] < START + NEW_AFTER * DAY]
    old = ds.items.index[ds.items["launched"] == START]
    popular = log["item_id"].value_counts().reindex(old, fill_value=0)
    weighted = (1 / log["propensity"]).groupby(log["item_id"]).sum().reindex(old, fill_value=0)
    assert popular.std() / popular.mean() > 0.4, "what is popular is shown more"
    first = log[log["list"].isin(log.groupby("user_id")["list"].min())]  # later lists leave out what was seen
    lists = first["list"].nunique()
    for share in np.array_split(popular.sort_values().index, 4):
        total = (1 / first["propensity"])[first["item_id"].isin(share)].sum() / (lists * len(share))
        assert abs(total - 1) < 0.15
    assert weighted.std() / weighted.mean() < popular.std() / popular.mean()


def test_cold_tags_share_no_character_with_anything_known_before(raw):
    items = raw["items"].merge(raw["latent_items"].drop(columns="category"), on="item_id")
    cold = items["cold"] == 1
    known = set("".join(items.loc[~cold, "tags_zh"]) + "".join(raw["latent_interests"]["zh"])) - {"|"}
    for text in items.loc[cold, "tags_zh"]:
        assert not set(text) & known, text
    english = [set("|".join(items.loc[part, "tags_en"]).split("|")) for part in (cold, ~cold)]
    assert not english[0] & english[1]
    assert cold.sum() >= 100


def test_the_graph_is_correct(raw):
    triples, items = raw["triples"], raw["items"]
    counts = Counter(triples["relation"])
    assert set(counts) == {"brand", "country", "category", "isA", "usedFor", "complementOf", "seasonOf"}
    for language in LANGUAGES:
        title = set(items[f"title_{language}"])
        made = triples[triples["relation"] == "brand"]
        assert dict(zip(made[f"head_{language}"], made[f"tail_{language}"], strict=True)) == dict(
            zip(items[f"title_{language}"], items[f"brand_{language}"], strict=True)
        )
        goes = triples[triples["relation"] == "complementOf"]
        assert set(goes[f"head_{language}"]) | set(goes[f"tail_{language}"]) <= title
        up = triples[triples["relation"] == "isA"].set_index(f"head_{language}")[f"tail_{language}"]
        for word in set(up.index):  # no word is, by whatever way, a kind of itself
            seen, here = set(), {word}
            while here:
                seen |= here
                here = {t for w in here for t in up.loc[up.index == w]}
                assert word not in here, word
                here -= seen


def test_probability_refuses_what_it_does_not_know():
    with pytest.raises(klm.KLMError, match="not in the shop"):
        shop.probability([1, 2], [1, 9999], [START, START])
    with pytest.raises(klm.KLMError, match="go together"):
        shop.probability([1, 2], [1], [START])
    with pytest.raises(klm.KLMError, match="language"):
        klm.load_dataset("shop", language="de")
    for time in (np.nan, "yesterday", None, START + 1j):
        with pytest.raises(klm.DataError, match="times"):
            shop.probability([1], [1], [time])


@pytest.mark.parametrize("seed", [None, -1, 0.5])
def test_another_shop_needs_a_seed(seed):
    with pytest.raises(klm.ConfigError, match="seed"):
        shop.resimulated(seed)
