"""What the model reaches on MovieLens-100K: one seed here, three in docs/results/05.json (`make full`)."""

import pytest

import klm_utils as klm
from klm_utils import course
from klm_utils.evaluation import paired_gain


@pytest.fixture(scope="module")
def movielens():
    return klm.load_dataset("movielens-100k")


@pytest.fixture(scope="module")
def encoder():
    return klm.TextEncoder.from_pretrained("minilm")


def trained(ds, split, objective, encoder=None, knowledge="true", **settings):
    model = klm.KLMRecommender.from_split(split, encoder=encoder, knowledge=knowledge)
    klm.fit(model, split, klm.TrainConfig(objective=objective, **settings))
    return klm.evaluate(model, split)


def baselines(split, names):
    return [klm.evaluate(klm.baselines.BASELINES["label"][name]().fit(split), split) for name in names]


def test_known_films_at_least_as_good_as_the_factorisation(movielens, encoder):
    split = klm.split(movielens, "random")
    (als,) = baselines(split, ["bias_als"])
    ours = trained(movielens, split, "label", encoder, id_dropout=0.0)
    assert ours.metrics["auc"] >= max(0.798, als.metrics["auc"])
    assert ours.metrics["ece"] < 0.03, "probabilities, not only an order"


def test_new_films_better_than_every_baseline_that_sees_genres_and_year(movielens, encoder):
    split = klm.split(movielens, "cold_item")
    best = max(r.metrics["auc"] for r in baselines(split, ["logistic", "gradient_boosting"]))
    assert trained(movielens, split, "label", encoder).metrics["auc"] >= max(0.72, best)


def test_choices_of_new_films_gain_from_true_text_and_not_from_shuffled(movielens, encoder):
    split = klm.split(movielens, "cold_item")
    none = trained(movielens, split, "interaction")
    assert paired_gain(trained(movielens, split, "interaction", encoder), none).low > 0
    assert paired_gain(trained(movielens, split, "interaction", encoder, "shuffled"), none).low <= 0


@pytest.fixture(scope="module")
def stored():
    return course.results("05")


def test_the_stored_full_scale_run_has_the_ordering_that_the_course_claims(stored):
    assert stored["parameters"]["SEEDS"] == [0, 1, 2] and stored["seconds"] < 3600
    table, gain = (stored["metrics"][part]["cold_item, interaction"] for part in ("tables", "gains"))
    assert table["no text"][0] > 0.245 and table["frozen"][0] > 0.277 and table["full"][0] > 0.314
    assert table["no text"][0] < table["frozen"][0] < table["full"][0]
    for name in ("frozen minus no text", "full minus no text", "full minus frozen", "full minus frozen, clipped"):
        assert gain[name][1] > 0, f"{name}: the interval excludes 0"
    for name in ("frozen minus frozen, shuffled", "full minus full, shuffled"):
        assert gain[name][1] > 0, f"{name}: knowledge, not parameters"
    assert gain["full, shuffled minus no text"][1] <= 0, "shuffled text does not help"


def test_the_stored_full_scale_run_does_not_lose_where_films_are_known(stored):
    tables, gains = stored["metrics"]["tables"], stored["metrics"]["gains"]
    known, new = tables["random, label"], tables["cold_item, label"]
    assert known["frozen"][0] >= max(0.800, known["bias + ALS"][0])
    assert gains["random, label"]["frozen minus bias + ALS"][1] > 0
    assert new["frozen"][0] >= 0.72
    assert all(new["frozen"][0] > new[name][0] for name in ("logistic regression", "gradient boosting"))
    assert {"random, interaction", "temporal, label"} <= set(tables)


def test_the_stored_full_scale_run_over_splits_costs_and_processes(stored):
    metrics = stored["metrics"]
    by_split = metrics["by_split"]
    assert len(by_split["frozen minus frozen, shuffled"]) == 10
    assert metrics["times_less"] >= 40 and metrics["apart"] < 1e-4
    assert {"minilm full", "minilm full trimmed", "minilm full checkpointing", "e5 full trimmed"} <= set(
        metrics["costs"]
    )
    for seed, found in metrics["perplexity"].items():
        assert found["pretrained"] < found["unigrams"] < found["at the start"], seed
    assert len(metrics["search"]["valid"]) == 16
    assert len(metrics["curves"]) == 6
    for name, curve in metrics["curves"].items():
        assert curve["kept"] == 1 + max(range(len(curve["valid"])), key=curve["valid"].__getitem__), name
