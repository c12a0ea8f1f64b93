"""Arguments that make no sense get an error of ours that names them, before anything is trained or written."""

from dataclasses import replace

import numpy as np
import pytest
from worlds import INTERACTION

import klm_utils as klm
from klm_utils.course.lessons import cost, pairs
from klm_utils.errors import ConfigError, DataError


def test_arguments_of_the_wrong_kind_are_named(ds, split):
    model = klm.KLMRecommender.from_split(split)
    for wrong in ((split, model), (model, ds), (model, split, "label"), (model, split, {"objective": "label"})):
        with pytest.raises(klm.ConfigError, match="wrong kind"):
            klm.fit(*wrong)
    with pytest.raises(klm.ConfigError, match="TextEncoder"):
        klm.KLMRecommender.from_split(split, encoder="minilm")
    with pytest.raises(klm.ConfigError, match="setting"):
        klm.KLMRecommender.from_split(split, widht=8)
    with pytest.raises(klm.ConfigError, match="no predict"):
        klm.evaluate("minilm", split)


def test_data_and_split_of_a_model(ds, split):
    for wrong in ((ds, None), (ds, "random"), ("planted", split)):
        with pytest.raises(ConfigError, match="from_split"):
            klm.KLMRecommender.from_split(*wrong)
    with pytest.raises(ConfigError, match="TextPairs"):
        pairs.TextPairs(ds)
    with pytest.raises(ConfigError, match="no such seed"):
        klm.KLMRecommender.from_split(split, seed=2**64)


def test_options_of_a_mode(ds, split, encoder):
    for tuning in (5, ["tokens"], {"tokens": 2}, {"tokens": "no"}):
        with pytest.raises(ConfigError, match=r"tuning|tokens"):
            klm.KLMRecommender.from_split(split, encoder, mode="full", tuning=tuning)
    for yes in (1, np.True_):
        model = klm.KLMRecommender.from_split(split, encoder, mode="full", tuning={"tokens": yes})
        assert model.about["tuning"]["tokens"] is True


def test_numbers_of_numpy_are_numbers():
    config = klm.TrainConfig(decay_ids=np.int64(1), lr=np.float32(0.5), epochs=np.int64(2))
    assert (config.decay_ids, config.lr, config.epochs) == (1.0, 0.5, 2)


def test_saving_and_loading(build, split, tmp_path):
    model = build()
    with pytest.raises(ConfigError, match="save_pretrained"):
        model.save_pretrained(None)
    with pytest.raises(ConfigError, match="no reports"):
        model.save_pretrained(tmp_path, reports=klm.evaluate(model, split))
    (tmp_path / "README.md").write_bytes(b"caf\xe9")
    model.save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_bytes() == b"caf\xe9"
    with pytest.raises(ConfigError, match="has no option"):
        klm.KLMRecommender.from_pretrained(tmp_path, mode="full")


def test_a_history_is_a_flat_list(build):
    for history in (101, [[101]]):
        with pytest.raises(DataError, match="flat list"):
            build().recommend(1, history=history)


def test_nobody_to_rank_for_in_valid_is_said_at_once(ds, split, build, monkeypatch):
    log = ds.interactions.assign(label=1)
    log.loc[split.valid.index, "label"] = 0
    none = klm.split(replace(ds, interactions=log, chosen_by="label"), "random")
    monkeypatch.setattr("klm_utils.training.loop.epoch", lambda *args: pytest.fail("an epoch began"))
    with pytest.raises(DataError):
        klm.fit(build(none), none, klm.TrainConfig(**INTERACTION))


def test_a_measurement_of_what_cannot_be():
    for wrong in ({"mode": "frozen"}, {"objective": "interaction"}):
        with pytest.raises(ConfigError, match="grouped"):
            cost.measure(**{"objective": "label"} | wrong, grouped=False)
    with pytest.raises(ConfigError, match="steps"):
        cost.measure(steps=0)
