"""What a model is as a torch module: its state decides, it can be copied at any time, and lives on one device."""

import copy
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from elsewhere import second_device
from worlds import FAST, INTERACTION, LABEL, WORDS, all_pairs, same, stepped, tiny_encoder, weights

import klm_utils as klm
from klm_utils.fusion import FUSIONS, LAYERS
from klm_utils.training.config import LOSSES

DEVICES = ["meta", *(["cuda"] if torch.cuda.is_available() else [])]


def on(device):
    """A context in which the device exists."""
    return second_device() if device == "meta" else nullcontext()


def test_models_of_equal_state_predict_equally(model, split, encoder, ds):
    fresh = klm.KLMRecommender.from_split(split, encoder, seed=5)
    assert not np.allclose(fresh.predict(*all_pairs(ds)), model.predict(*all_pairs(ds)))
    fresh.load_state_dict(model.state_dict())
    assert np.array_equal(fresh.predict(*all_pairs(ds)), model.predict(*all_pairs(ds)))
    changed = model.state_dict() | {"scale": 2 * model.scale, "shift": model.shift + 1}
    fresh.load_state_dict(changed)
    assert not np.allclose(fresh.predict(*all_pairs(ds)), model.predict(*all_pairs(ds)))


@pytest.mark.parametrize("mode", ["frozen", "full", "adapter"])
def test_a_model_can_be_copied_in_the_middle_of_its_training(split, ds, mode, monkeypatch):
    """Within a step, when gradients are there, and in `watch`; the copy is one of its own."""
    model, copies = klm.KLMRecommender.from_split(split, tiny_encoder(), mode=mode), []
    stepped(monkeypatch, 3, lambda: copies.append(copy.deepcopy(model)))

    def watch(model):
        copies.append(copy.deepcopy(model))
        assert np.array_equal(copies[-1].predict(*all_pairs(ds)), model.predict(*all_pairs(ds)))
        return {}

    klm.fit(model, split, klm.TrainConfig(**FAST | {"head_epochs": 0}), watch=watch)
    in_a_step, after_an_epoch, *_ = copies
    before = weights(model)
    assert not same(in_a_step, model) and not same(after_an_epoch, in_a_step)
    klm.fit(after_an_epoch, split, klm.TrainConfig(**FAST | {"head_epochs": 0}))
    assert same(before, model), "training the copy leaves the model alone"


def guesser():
    return tiny_encoder(words=[*WORDS, "[MASK]"], mask_token="[MASK]")


def trained(split, device, config, **options):
    model = klm.KLMRecommender.from_split(split, **options).to(device)
    klm.fit(model, split, config)
    return model


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("settings", "fusion"),
    [
        *((LABEL | {"loss": loss}, "dot") for loss in LOSSES["label"]),
        (INTERACTION, "dot"),
        *((settings, layer) for settings in (LABEL, INTERACTION) for layer in LAYERS),
        *((INTERACTION | {"loss": loss, "batch": 128}, "dot") for loss in LOSSES["interaction"][1:]),
        *((INTERACTION | {"loss": loss, "batch": 128}, "gate") for loss in LOSSES["interaction"][2:]),
    ],
    ids=lambda given: given if isinstance(given, str) else f"{given['objective']} {given.get('loss')}",
)
def test_a_training_stays_on_the_device_of_the_model(split, encoder, settings, fusion, device):
    """Every objective, loss and fusion, there and back: forward, grid, backward; with the same numbers as here."""
    config = klm.TrainConfig(**settings | {"epochs": 1, "id_dropout": 0.2})
    here = trained(split, "cpu", config, encoder=encoder, fusion=fusion)
    with on(device):
        there = trained(split, device, config, encoder=encoder, fusion=fusion)
        assert {tensor.device.type for tensor in there.state_dict().values()} == {device}
        there = there.to("cpu")
    torch.testing.assert_close(weights(there), weights(here), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "settings", [LABEL, LABEL | {"loss": "ordinal"}, INTERACTION, INTERACTION | {"loss": "info_nce", "batch": 64}]
)
def test_a_language_model_may_be_on_another_device(split, settings, device):
    config = klm.TrainConfig(**settings | {"epochs": 1, "head_epochs": 0, "mlm": 0.1})
    with on(device):
        there = klm.KLMRecommender.from_split(split, guesser(), mode="full")
        there.fusion.to(device)
        there.scale, there.shift = there.scale.to(device), there.shift.to(device)
        klm.fit(there, split, config)
        assert there.device.type == device and there.texts.encoder.model.device.type == "cpu"
        there.fusion.to("cpu")
    here = trained(split, "cpu", config, encoder=guesser(), mode="full")
    torch.testing.assert_close(weights(there), weights(here), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("fusion", FUSIONS)
def test_whatever_is_asked_of_a_model_is_answered_on_its_device(model, ds, split, encoder, fusion, device, tmp_path):
    model = klm.KLMRecommender.from_split(split, encoder, fusion)
    new = ds.items.iloc[:2].reset_index().assign(item_id=[901, 902])

    def answers(model):
        more = model.with_items(new)
        more.save_pretrained(tmp_path)
        tables = [more.recommend([1, 2], k=3), more.recommend(None, history=[101, 103], among=[102, 901])]
        numbers = [table.select_dtypes("number").to_numpy() for table in (*tables, more.similar_items(901))]
        numbers += [more.explain(1, 902).to_numpy(), more.explain(None, 101, [102]).to_numpy()]
        return [*numbers, more.predict([1, 2], [901, 101]), more.predict_grid([1], [901])]

    here = answers(model)
    with on(device):
        there = answers(model.to(device))
    for a, b in zip(here, there, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
