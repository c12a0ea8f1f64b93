"""What Ctrl-C, a failure and a second call of fit leave behind: never a half result without a word."""

from dataclasses import replace

import numpy as np
import pytest
from worlds import BOTH, INTERACTION, LABEL, ctrl_c, rows_of, same, stepped, weights

import klm_utils as klm
from klm_utils.errors import ConfigError
from klm_utils.training import loop, resume


@BOTH
def test_ctrl_c_is_raised_again_and_leaves_the_best_weights_so_far(build, split, settings, monkeypatch):
    whole = build()
    config = klm.TrainConfig(**settings)
    klm.fit(whole, split, replace(config, epochs=2))
    steps = -(-560 // 128) if settings is LABEL else -(-len(split.train["item_id"].unique()) // 8)
    model = build()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt) as caught:
        stepped(patch, 2 * steps + 2, ctrl_c)
        klm.fit(model, split, config)
    assert same(model, whole) and (model.scale, model.shift) == (whole.scale, whole.shift) and not model.training
    rows = split.test
    assert np.array_equal(model.predict(rows.user_id, rows.item_id), whole.predict(rows.user_id, rows.item_id))
    assert "interrupted after 2 epochs" in caught.value.__notes__[0]


def test_what_is_unfinished_says_so_in_every_report_until_it_is_trained_to_the_end(build, split, monkeypatch, tmp_path):
    model, whole = build(), build()
    config = klm.TrainConfig(**LABEL)
    klm.fit(whole, split, config)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stepped(patch, 9, ctrl_c)
        klm.fit(model, split, config)
    unfinished = "KLM without text (interrupted after 1 epoch)"
    report = klm.evaluate(model, split, n_boot=10)
    assert model.name == report.name == unfinished and unfinished in str(report)
    assert unfinished in str(klm.evaluation.paired_gain(report, klm.evaluate(whole, split, n_boot=10), n_boot=10))
    model.save_pretrained(tmp_path)
    assert klm.KLMRecommender.from_pretrained(tmp_path).name == unfinished
    assert unfinished in (tmp_path / "README.md").read_text()
    klm.fit(model, split, config)
    assert model.name == whole.name == "KLM without text" and same(model, whole)


def test_a_loaded_model_keeps_its_mark_until_it_is_trained_to_the_end(build, split, monkeypatch, tmp_path):
    model, config = build(), klm.TrainConfig(**LABEL)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stepped(patch, 9, ctrl_c)
        klm.fit(model, split, config)
    model.save_pretrained(tmp_path / "marked")
    loaded = klm.KLMRecommender.from_pretrained(tmp_path / "marked")
    before = weights(loaded)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stepped(patch, 2, ctrl_c)
        klm.fit(loaded, split, config)
    assert loaded.name == model.name == "KLM without text (interrupted after 1 epoch)" and same(loaded, before)
    loaded.save_pretrained(tmp_path / "marked again")
    loaded = klm.KLMRecommender.from_pretrained(tmp_path / "marked again")
    assert loaded.name == model.name
    klm.fit(loaded, split, config)
    loaded.save_pretrained(tmp_path / "whole")
    assert loaded.name == klm.KLMRecommender.from_pretrained(tmp_path / "whole").name == "KLM without text"


def rates(model):
    """Every share that dropout leaves out, by module."""
    return {
        (place, name): getattr(module, name)
        for place, module in model.named_modules()
        for name in ("p", "id_dropout", "user_dropout")
        if hasattr(module, name)
    }


@pytest.mark.parametrize("fails", [False, True])
def test_a_training_that_is_rolled_back_leaves_the_dropout_as_it_was(build, split, encoder, fails, monkeypatch):
    model = build(encoder=encoder, mode="full")
    before = rates(model)
    assert {name for _, name in before} == {"p", "id_dropout", "user_dropout"}
    settings = LABEL | {"id_dropout": 0.45, "user_dropout": 0.35, "dropout_text": 0.25, "head_epochs": 0}
    seen = []

    def act():
        seen.append(rates(model))
        if fails:
            raise OSError("full")
        ctrl_c()

    with monkeypatch.context() as patch, pytest.raises(OSError if fails else KeyboardInterrupt):
        stepped(patch, 2, act)
        klm.fit(model, split, klm.TrainConfig(**settings))
    assert set(seen[0].values()) == {0.45, 0.35, 0.25} and rates(model) == before


@BOTH
def test_ctrl_c_in_the_first_epoch_leaves_the_model_as_it_was(build, split, settings, monkeypatch):
    model = build()
    klm.fit(model, split, klm.TrainConfig(**LABEL))
    before, fields = weights(model), (model.name, model.objective, float(model.scale), float(model.shift))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stepped(patch, 2, ctrl_c)
        klm.fit(model, split, klm.TrainConfig(**settings))
    assert same(model, before) and (model.name, model.objective, float(model.scale), float(model.shift)) == fields
    assert not model.training


@BOTH
def test_a_failure_in_the_first_epoch_leaves_the_model_as_it_was(build, split, settings):
    model = build()
    klm.fit(model, split, klm.TrainConfig(**settings))
    before, rows = weights(model), split.test
    p = model.predict(rows.user_id, rows.item_id)
    decays = {"decay_ids": 1.0, "decay_maps": 1.0, "decay_biases": 1.0}
    with pytest.raises(ConfigError, match="no longer finite"):
        klm.fit(model, split, klm.TrainConfig(**settings | {"lr": 1e6} | decays))
    assert same(model, before) and np.array_equal(model.predict(rows.user_id, rows.item_id), p)


def test_a_second_fit_starts_anew(build, split, tmp_path):
    once, twice = build(), build()
    first = klm.fit(once, split, klm.TrainConfig(**LABEL))
    for settings in (LABEL, INTERACTION, LABEL):
        again = klm.fit(twice, split, klm.TrainConfig(**settings))
    assert same(once, twice) and rows_of(first).equals(rows_of(again)) and once.scale == twice.scale
    once.save_pretrained(tmp_path)
    loaded = klm.KLMRecommender.from_pretrained(tmp_path)
    klm.fit(loaded, split, klm.TrainConfig(**LABEL))
    assert not same(loaded, once), "a loaded model starts from what was saved"


def interrupting(monkeypatch, owner, name, when):
    """Ctrl-C at the start of a call of a function; `when` is told its number and its arguments."""
    function, calls = getattr(owner, name), [0]

    def wrapped(*args, **kwargs):
        calls[0] += 1
        if when(calls[0], *args):
            raise KeyboardInterrupt
        return function(*args, **kwargs)

    monkeypatch.setattr(owner, name, wrapped)


def test_a_second_ctrl_c_while_the_model_is_put_back_leaves_a_mark(build, split, monkeypatch):
    model = build()
    interrupting(monkeypatch, loop, "step", lambda n, *args: n == 3)
    interrupting(monkeypatch, resume.Snapshot, "put_weights_back", lambda n, *args: n == 2)
    with pytest.raises(KeyboardInterrupt):
        klm.fit(model, split, klm.TrainConfig(**LABEL))
    assert "in training" in model.name and not model.training


@BOTH
def test_a_second_ctrl_c_while_the_best_weights_are_put_in_leaves_the_model_as_it_was(
    build, split, settings, monkeypatch
):
    model = build()
    before = weights(model)
    interrupting(monkeypatch, loop, "step", lambda n, run, *args: len(run.rows) == 1)
    interrupting(monkeypatch, klm.KLMRecommender, "store", lambda n, *args: True)
    with pytest.raises(KeyboardInterrupt):
        klm.fit(model, split, klm.TrainConfig(**settings))
    assert same(model, before) and model.name == "KLM without text" and model.objective == "label"


def test_a_log_folder_that_fails_changes_nothing_even_beside_a_run_to_go_on_with(build, split, tmp_path):
    klm.fit(build(), split, klm.TrainConfig(**LABEL), checkpoint_dir=tmp_path)
    model = build()
    before = weights(model)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(klm.CheckpointError, match="curves"):
        klm.fit(model, split, klm.TrainConfig(**LABEL), tmp_path, log_dir=tmp_path / "file" / "below")
    assert same(model, before) and model.name == "KLM without text"


def test_a_run_is_gone_on_with_only_from_the_same_start(build, split, tmp_path):
    model = build()
    klm.fit(model, split, klm.TrainConfig(**LABEL), checkpoint_dir=tmp_path / "run")
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(klm.CheckpointError, match="loaded from"):
        klm.fit(
            klm.KLMRecommender.from_pretrained(tmp_path / "model"), split, klm.TrainConfig(**LABEL), tmp_path / "run"
        )


def test_weights_that_are_loaded_between_two_fits_are_where_the_second_starts(build, split):
    model, other = build(), build(seed=5)
    klm.fit(model, split, klm.TrainConfig(**LABEL))
    model.load_state_dict(other.state_dict())
    for one in (model, other):
        klm.fit(one, split, klm.TrainConfig(**LABEL))
    assert same(model, other)


def test_a_training_that_broke_off_is_marked_in_tables_and_its_cause_named(build, split):
    model = build()

    def broken(model, calls=[]):  # noqa: B006 (counts its calls)
        calls.append(1)
        if len(calls) == 2:
            raise OSError("full")
        return {}

    with pytest.raises(OSError, match="full") as caught:
        klm.fit(model, split, klm.TrainConfig(**LABEL), watch=broken)
    assert "broken off after 1 epoch" in model.name and "run the same cell" not in caught.value.__notes__[0]
    runs = klm.evaluation.experiment.run({"a": lambda split, seed: model}, split, n_boot=5)
    assert runs.table().loc["a", "model"] == model.name
