"""What the trials of notebook 04 rest on: trainings of equal steps."""

import math

import numpy as np
import pytest

import klm_utils as klm
from klm_utils.course.exercises import ch04
from klm_utils.course.lessons import loss_trials as lesson
from klm_utils.data import shop


@pytest.fixture(scope="module")
def split():
    return klm.split(klm.load_dataset("movielens-100k"), "random", seed=0)


@pytest.mark.parametrize(("what", "values"), [("0 or 1", 2), ("two means", 2)])
def test_a_control_knows_the_label_only(split, what, values):
    train = lesson.knowing_only(split, what).train
    assert train["rating"].nunique() == values and train.groupby("label")["rating"].nunique().tolist() == [1, 1]
    assert (train["label"] == split.train["label"]).all() and split.train["rating"].nunique() == 5
    if what == "two means":
        assert train["rating"].mean() == pytest.approx(split.train["rating"].mean())


def test_a_control_of_another_kind_is_refused(split):
    with pytest.raises(klm.ConfigError, match="two means"):
        lesson.knowing_only(split, "stars")


def test_the_aims_are_the_targets_of_the_controls(split):
    aims = lesson.aims(split)
    assert aims["stars"].tolist() == [1, 2, 3, 4, 5] and aims["0 or 1"].tolist() == [0, 0, 0, 1, 1]
    assert aims["two means"].nunique() == 2 and 2 < aims["two means"].iloc[0] < 3 < 4 < aims["two means"].iloc[4] < 5


def test_log_q_can_be_added_to_a_model_that_forgot_it(split):
    minilm = klm.TextEncoder.from_pretrained("minilm")
    ways = {"no log q": {"loss": "sampled_softmax", "log_q": False}}
    runs, _ = lesson.compare_losses("interaction", ways, {0: split}, minilm, 157, draws=1)
    found = lesson.repaired(runs, "no log q")
    assert list(found) == ["no log q", "the same model, log q added", "most popular"]
    assert found["no log q"] < 0.1 < found["the same model, log q added"]
    assert lesson.list_popularity(runs, "no log q") < 60
    model = lesson.Repaired(runs.models["no log q"], split)
    user, films = split.train["user_id"].iloc[0], split.train["item_id"].value_counts().index[[0, 500]]
    more = model.predict([user] * 2, films) - runs.models["no log q"].scores([user] * 2, films)
    count = split.train["item_id"].value_counts()
    assert more[0] - more[1] == pytest.approx(np.log(count.iloc[0] / count.iloc[500]), abs=1e-5)


def test_rows_of_a_stored_run_keep_the_interval_for_other_users():
    stored = {"auc": {"bpr": [0.1, 0.0, 0.2, -1, 1]}, "user_auc": {"bpr": [0.3, 0.2, 0.4, None, None]}}
    rows = lesson.over_users(stored, {"auc": "AUC", "user_auc": "within users"}, ["bpr"])
    assert rows == {"bpr, AUC": [0.1, 0.0, 0.2], "bpr, within users": [0.3, 0.2, 0.4]}
    assert list(lesson.over_users(stored, {"auc": ""}, ["bpr"])) == ["bpr"]


@pytest.fixture(scope="module")
def trained(split):
    minilm = klm.TextEncoder.from_pretrained("minilm")
    ways = {
        "bce": {"loss": "bce"},
        "0 or 1": {"loss": "squared_error", "knowing": "0 or 1"},
        "bpr": {"loss": "bpr"},
    }
    return lesson.compare_losses("label", ways, {0: split}, minilm, {"bce": 20, "0 or 1": 20, "bpr": 22}, draws=20)


def test_losses_are_compared_after_about_equally_many_steps(trained):
    runs, taken = trained
    assert taken["bce"] == taken["0 or 1"] == 20 and abs(taken["bpr"] - 22) <= 6
    assert runs.variants == ["bce", "0 or 1", "bpr"]


def test_the_summary_has_values_of_the_base_and_differences_of_the_others(trained):
    table = lesson.summary(*trained, "bce", {"auc": "AUC", "logloss": "log loss"})
    assert list(table) == ["steps", "AUC", "log loss"] and float(table.at["bce", "AUC"]) > 0.6
    assert table.at["bpr", "AUC"].count(",") == 1 and table.at["bpr", "AUC"][0] in "+-"


def test_the_best_films_are_new_and_written_as_people_write_them(trained, split):
    user = split.train["user_id"].iloc[0]
    lists = lesson.top_films(trained[0], ["bce", "bpr"], user, k=50)
    seen = split.train.loc[split.train["user_id"] == user, "item_id"]
    titles = set(split.dataset.items.loc[seen, "title"])
    assert all(len(films) == 50 for films in lists.values())
    shown = [title for films in lists.values() for title, _ in films]
    assert not titles & set(shown) and not any(title.endswith(", The") for title in shown)


def test_with_log_q_a_right_model_is_left_alone():
    counts = {"Star Wars": 500, "Fargo": 250, "Alien": 100}
    found = lesson.drawn_gradients(counts, ch04.corrected_loss, rows=3000, seed=0)
    assert list(found.index) == ["Star Wars, 500", "Fargo, 250", "Alien, 100"]
    assert found["all films"].abs().max() < 0.03 and found["drawn films, corrected"].abs().max() < 0.03
    assert found.at["Star Wars, 500", "drawn films"] > 0.05 > found.at["Alien, 100", "drawn films"]


def test_a_sample_moves_the_logits_by_log_r():
    things = shop.resimulated(0)
    split = klm.split(things, "random", seed=0)
    logits = lesson.on_a_sample(split, 0.2, 0, epochs=2)
    assert list(logits) == ["all rows", "all rows, few steps", "sample"]
    moved = np.mean(logits["sample"] - logits["all rows, few steps"])
    assert moved == pytest.approx(-math.log(0.2), abs=0.35)
    said = {name: 1 / (1 + np.exp(-z)) for name, z in logits.items()}
    table = lesson.calibrated(said, split.test["label"].to_numpy(), things.optimum[split.test.index])
    assert table.at["sample", "ECE"] > 0.2 > 0.1 > table.at["all rows", "ECE"]
    bins = lesson.tenths(said["all rows"], things.optimum[split.test.index])
    assert len(bins) == 10 and bins["p"].is_monotonic_increasing
