"""What Ctrl-C, a failure and a second call of fit leave behind: never a half result without a word."""

from dataclasses import replace

import numpy as np
import pytest
from small import BOTH, INTERACTION, LABEL, ctrl_c, rows_of, same, stepped, weights

import klm_utils as klm
from klm_utils.errors import ConfigError


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
    assert unfinished in str(klm.evaluation.compare(report, klm.evaluate(whole, split, n_boot=10), n_boot=10))
    model.save_pretrained(tmp_path)
    assert klm.KLMRecommender.from_pretrained(tmp_path).name == unfinished
    assert unfinished in (tmp_path / "README.md").read_text()
    klm.fit(model, split, config)
    assert model.name == whole.name == "KLM without text" and same(model, whole)


@BOTH
def test_ctrl_c_in_the_first_epoch_leaves_the_model_as_it_was(build, split, settings, monkeypatch):
    model = build()
    klm.fit(model, split, klm.TrainConfig(**LABEL))
    before, fields = weights(model), (model.name, model.objective, model.scale, model.shift)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stepped(patch, 2, ctrl_c)
        klm.fit(model, split, klm.TrainConfig(**settings))
    assert same(model, before) and (model.name, model.objective, model.scale, model.shift) == fields
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
