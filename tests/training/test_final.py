"""fit() without valid, for the final model."""

from dataclasses import replace

import pytest
from worlds import BOTH, LABEL, planted, same, weights

import klm_utils as klm
from klm_utils.errors import ConfigError


@pytest.fixture(scope="module")
def everything(split):
    return split.all_in_train()


@BOTH
def test_without_valid_it_trains_to_the_end_and_keeps_the_last_average(ds, everything, settings, tmp_path):
    model, seen = klm.KLMRecommender.from_split(everything), []
    config = klm.TrainConfig(**settings | {"loss": "bce", "patience": 1, "epochs": 5})
    history = klm.fit(model, everything, config, watch=lambda model: seen.append(weights(model)))
    assert history.stopped == "epochs" and len(seen) == history.best_epoch == 5
    assert same(model, seen[-1]) and not same(seen[-1], seen[-2]) and "no valid" in str(history)
    assert history.epochs["valid"].isna().all() and (model.scale, model.shift) == (1, 0)
    assert model.fusion.known_items.all() and len(everything.train) == len(ds.interactions)
    for epochs in (2, 5):
        again = klm.KLMRecommender.from_split(everything)
        klm.fit(again, everything, replace(config, epochs=epochs), checkpoint_dir=tmp_path)
    assert same(again, model), "goes on bit for bit"


def test_without_valid_a_predicted_rating_takes_its_meaning_from_another_model(build, split, everything):
    picked, final, config = build(), klm.KLMRecommender.from_split(everything), klm.TrainConfig(**LABEL)
    with pytest.raises(ConfigError, match="which probability"):
        klm.fit(final, everything, config)
    klm.fit(picked, split, config)
    final.scale.copy_(picked.scale), final.shift.copy_(picked.shift)
    klm.fit(final, everything, config)
    rows = split.test
    assert (final.scale, final.shift) == (picked.scale, picked.shift)
    assert final.predict(rows["user_id"], rows["item_id"]).mean() == pytest.approx(rows["label"].mean(), abs=0.1)


def test_another_log_under_the_same_protocol_is_seen(build, split):
    other = klm.split(planted(seed=1), "random")
    assert other.protocol == split.protocol
    with pytest.raises(ConfigError, match="another log"):
        klm.fit(build(), other, klm.TrainConfig(**LABEL))
