"""What notebook 05 asks of its models, on a few films."""

import pytest

import klm_utils as klm
from klm_utils import course
from klm_utils.course.lessons import training_trials
from klm_utils.course.lessons.training_trials import Trials
from klm_utils.embedding.mlm import MaskedHead
from klm_utils.errors import ConfigError


@pytest.fixture(scope="module")
def trials():
    encoder = klm.TextEncoder.from_pretrained("minilm")
    return Trials(klm.load_dataset("movielens-100k"), encoder, [0], [0], 1, 1, 0, mlm_texts=8, mlm_epochs=1)


def test_what_was_trained_is_not_trained_again_and_the_encoder_stays(trials):
    before = trials.encoder.fingerprint
    first, history = trials.train("frozen, shuffled", 0)
    assert trials.train("frozen, shuffled", 0)[0] is first and first.about["knowledge"] == "shuffled"
    assert trials.train("frozen, shuffled", 0, id_dropout=0.1)[0] is not first
    full, longer = trials.train("full", 0)
    assert full.about["mode"] == "full" and len(history.epochs) == len(longer.epochs) == 1
    assert trials.encoder.fingerprint == before


def test_models_are_measured_on_the_new_films(trials):
    runs = trials.measure(["no text"], ["popularity"])
    assert runs.variants == ["popularity", "no text"] and "cold_item fold 0" in runs.protocol
    values = runs.to_rows()
    assert values["no text"][0] > values["popularity"][0]


def test_a_question_has_values_and_differences(trials):
    values, gains = trials.question("temporal, label")
    assert set(values) == {"user + item bias", "bias + ALS", "no text", "frozen"}
    assert set(gains) == {f"frozen minus {name}" for name in values if name != "frozen"}
    shown = training_trials.named({"temporal, label": gains})
    assert list(shown) == ["tomorrow, liked? minus no text", "tomorrow, liked? minus bias"]


def test_the_stored_run_has_every_named_difference():
    stored = course.results("05")["metrics"]["gains"]
    assert len(training_trials.named(stored)) == len(training_trials.SHOWN)


def test_texts_of_new_films_are_not_those_of_train(trials):
    train, new = (set(trials.texts_of(part, 0)) for part in ("train", "test"))
    assert "The Shining (1980). Horror." in new and not train & new
    found = trials.perplexity(0)
    assert found["unigrams"] < found["pretrained"] < found["at the start"]


def test_a_hidden_word_is_guessed(trials):
    head = MaskedHead(trials.encoder, 0)
    tokens, place, found = training_trials.guess(trials.encoder, head, "The Shining (1980). Horror.", "horror")
    assert tokens[place] == "horror" and tokens[0] == "the" and len(found) == 3
    assert found[0][1] >= found[1][1] >= found[2][1] > 0


def test_what_training_holds_is_counted_from_what_learns():
    rows = training_trials.held({"full": {"parameters": 2**18, "trained": 2**18, "kept_mb": 7}})
    assert rows.loc["full"].to_dict() == {
        "weights": 1.0,
        "gradient and AdamW": 3.0,
        "average, best": 2.0,
        "kept for the way back": 7.0,
    }


def test_the_stored_memory_says_what_the_notebook_says():
    modes = course.results("memory")["modes"]
    adapter, full, partial = (modes[name] for name in ("adapter", "full", "partial"))
    assert adapter["peak_mb"] > full["peak_mb"] > partial["peak_mb"]
    assert adapter["peak_mb, given back at once"] < full["peak_mb, given back at once"]
    assert adapter["kept_mb"] == pytest.approx(full["kept_mb"], rel=0.05) and partial["kept_mb"] < full["kept_mb"] / 2


def test_a_module_that_fails_in_two_processes_says_why():
    with pytest.raises(ConfigError, match="no_such_luck"):
        training_trials.in_two_processes("klm_utils.no_such_luck")


def test_the_power_fails_in_the_epoch_that_was_said():
    watch = training_trials.power_cut(2)
    assert watch(None) is None
    with pytest.raises(RuntimeError, match="in epoch 2"):
        watch(None)


def test_nothing_more_is_asked_than_was_wanted(trials):
    found = trials.others(None, [], [], 0)
    assert {key: bool(value) for key, value in found.items()} == {
        "tables": False,
        "gains": False,
        "perplexity": True,
        "search": False,
    }
    assert set(found["perplexity"]["fold 0"]) == {"unigrams", "at the start", "pretrained"}


def test_what_was_not_timed_is_what_is_stored():
    stored = course.results("05")["metrics"]
    spent = training_trials.spent(0, stored)
    assert spent == {"costs": stored["costs"], "times_less": stored["times_less"]}
    table = training_trials.seconds_and_peaks(spent["costs"])
    assert table.loc["full"].tolist() == ["11.1", "15.2", "1322", "1044"]
    assert (table.loc["frozen"] == "-").sum() == 2, "nothing to go back through"
    seconds, peak = table["seconds an epoch"].astype(float), table["peak, MB"].astype(float)
    assert seconds["full"] > 100 * seconds["frozen"] and peak["adapter"] > peak["full"] > peak["partial"]


def test_a_search_begins_with_the_preset_and_the_winner_meets_it_once(trials):
    found = trials.search(2)
    assert len(found["valid"]) == len(found["lr"]) == 2 and found["lr"][0] == 0.005
    assert set(found["best"]) == set(training_trials.RANGES) and len(found["test"]) == 3


def test_a_language_model_that_guesses_along_the_way_has_a_head(trials):
    assert trials.train("full, joint", 0)[1].config.mlm == 0.1
    assert trials.perplexity(0, joint=True)["full, joint"] > 0
    assert trials.train("frozen, pretrained", 0)[0].about["encoder"] != trials.train("frozen", 0)[0].about["encoder"]
