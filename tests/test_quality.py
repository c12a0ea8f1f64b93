"""What the model reaches on MovieLens-100K: one seed here, three in docs/results/05.json (`make full`)."""

import pytest

import klm_utils as klm
from klm_utils import course
from klm_utils.evaluation import compare


@pytest.fixture(scope="module")
def movielens():
    return klm.load_dataset("movielens-100k")


@pytest.fixture(scope="module")
def encoder():
    return klm.TextEncoder.from_pretrained("minilm")


def trained(ds, split, objective, encoder=None, knowledge="true", **settings):
    model = klm.KLMRecommender.from_dataset(ds, split, encoder=encoder, knowledge=knowledge)
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
    assert compare(trained(movielens, split, "interaction", encoder), none).low > 0
    assert compare(trained(movielens, split, "interaction", encoder, "shuffled"), none).low <= 0


def test_the_stored_full_scale_run_holds_every_ordering_that_the_course_claims():
    stored = course.results("05")
    assert stored["parameters"]["SEEDS"] == [0, 1, 2]
    tables, gains = stored["metrics"]["tables"], stored["metrics"]["gains"]
    known, new = tables["random, label"], tables["cold_item, label"]
    assert known["KLM minilm"][0] >= max(0.800, known["bias + ALS"][0])
    assert new["KLM minilm"][0] >= 0.72
    assert all(new["KLM minilm"][0] > new[name][0] for name in ("logistic regression", "gradient boosting"))
    assert gains["cold_item, interaction, true minus none"][1] > 0, "text helps, the interval excludes 0"
    assert gains["cold_item, interaction, shuffled minus none"][1] <= 0, "shuffled text does not"
    assert gains["cold_item, interaction, true minus shuffled"][1] > 0
    by_split = stored["metrics"]["by_split"]
    assert len(by_split["true minus shuffled"]) == 10 and min(by_split["true minus shuffled"]) > 0
    assert sum(gain > 0 for gain in by_split["true minus none"]) == 7
    assert {"random, interaction", "temporal, label"} <= set(tables)
