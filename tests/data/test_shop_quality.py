"""What the shop can tell apart: the claims of its card, computed by the script that made the card."""

import pytest

import klm_utils as klm
from klm_utils.data import shop
from klm_utils.evaluation import intervals

SEEDS = range(3)


@pytest.fixture(scope="module")
def measure(script):
    return script("data/shop/measure.py")


@pytest.fixture(scope="module")
def card(checkout):
    """First cell -> the other cells of each table row of the card."""
    rows = [line.strip("| \n").split(" | ") for line in (checkout / "data/shop/README.md").open(encoding="utf8")]
    return {first.strip(): [cell.strip() for cell in others] for first, *others in rows if others}


@pytest.fixture(scope="module")
def encoders():
    return {name: klm.TextEncoder.from_pretrained(name) for name in ("e5", "minilm")}


@pytest.fixture(scope="module")
def ladder(measure, encoders):
    return measure.pooled([measure.warm_ladder(seed, encoders["e5"]) for seed in SEEDS])


@pytest.fixture(scope="module")
def cold(measure, encoders):
    """Of one seed: reading the interests of 2,000 users with two models, in two languages, takes a minute."""
    return measure.cold_tags(0, encoders)


def test_the_ceilings_of_the_card_are_those_of_the_data(measure, card):
    for name, value in measure.ceilings(shop.load()).items():
        assert card[name][0] == (f"{value:,.0f}" if value > 1 else f"{value:.3f}"), name


def test_each_rule_holds_with_its_stated_strength(measure, card):
    for rule in measure.rule_strengths(shop.load(), 0):
        assert rule["low"] < rule["stated"] < rule["high"], rule
        assert not rule["low"] <= 0 <= rule["high"], "and not by chance"
        assert (rule["bought"] > rule["without"]) == (rule["stated"] > 0)
        assert card[rule["rule"]][:2] == [f"{rule['rows']:,}", f"{rule['bought']:.1%}"]


def test_warm_items_popularity_below_content_below_well_specified_below_the_ceiling(ladder):
    popularity, tags, e5, specified, best = ladder.values()
    for content in (tags, e5):
        assert intervals.interval(intervals.difference(content, popularity))[0] > 0
        assert intervals.interval(intervals.difference(specified, content))[0] > 0
    gap = intervals.difference(specified, best)
    assert gap.estimate() > -0.015
    assert intervals.interval(gap)[0] <= 0, "not above the truth by more than its interval"


def test_cold_tags_say_nothing_to_letters_and_something_to_a_language_model(cold):
    for name in ("tags one-hot", "tags TF-IDF of characters, zh", "tags TF-IDF of characters, en"):
        low, high = intervals.interval(cold[name])
        assert low <= 0.5 <= high, name
    assert cold["e5, zh"].estimate() > 0.6 and cold["e5, en"].estimate() > 0.6
    assert abs(cold["minilm, zh"].estimate() - 0.5) < 0.02, "it has read no Chinese"


def test_the_card_says_what_was_measured(ladder, cold, measure, encoders, card):
    for table, near in ((ladder, 0.003), (cold, 0.015)):  # the card has the mean of three seeds
        for name, stat in table.items():
            if name != "true probabilities":  # it stands in both tables
                assert float(card[name][0].split()[0]) == pytest.approx(stat.estimate(), abs=near), name
    for name, encoder in encoders.items():
        assert float(card[name][0].rstrip("%")) == pytest.approx(100 * measure.translations(encoder), abs=1), name
