"""fit(): it learns, it is the same twice, it can be stopped at any moment and goes on as if nothing had happened."""

import random
import re
from contextlib import nullcontext
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pandas as pd
import pytest
import torch
from worlds import BOTH, INTERACTION, LABEL, ctrl_c, planted, rows_of, same, stepped, weights

import klm_utils as klm
from klm_utils.errors import ConfigError, DataError
from klm_utils.evaluation import metrics, ranking
from klm_utils.training.config import PRESETS
from klm_utils.training.objectives import LOSSES


def value_on_valid(model, split, objective):
    """What the loop calls `valid`, measured from outside."""
    rows = split.valid
    if objective == "label":
        return metrics.auc(rows["label"], model.predict(rows["user_id"], rows["item_id"]))
    return ranking.rank(model, split, k=10, part="valid").values["ndcg@10"].mean()


# learning


@pytest.mark.parametrize(
    ("settings", "loss"),
    [(LABEL, None), (INTERACTION, None)]
    + [(LABEL, loss) for loss in LOSSES["label"]]
    + [(INTERACTION, loss) for loss in LOSSES["interaction"]],
)
def test_loss_falls_and_valid_improves(build, split, settings, loss):
    model = build()
    before = value_on_valid(model, split, settings["objective"])
    history = klm.fit(model, split, klm.TrainConfig(**settings | {"loss": loss, "epochs": 8, "patience": 8}))
    losses = history.epochs["loss"]
    within = loss in ("softmax", "sampled_softmax", "info_nce")  # most of it is the entropy of the choices
    assert losses.iloc[-1] < (0.998 if within else 0.95) * losses.iloc[0]
    after = value_on_valid(model, split, settings["objective"])
    assert after > before + 0.1
    assert model.objective == settings["objective"] and not model.training


def test_the_loss_decides_the_scale_of_the_score(build, split):
    def mean_score(loss):
        model = build()
        klm.fit(model, split, klm.TrainConfig(**LABEL | {"loss": loss}))
        return model.scores(split.train["user_id"], split.train["item_id"]).mean()

    assert mean_score("squared_error") == pytest.approx(split.train["rating"].mean(), abs=0.3) == mean_score(None)
    assert abs(mean_score("bce")) < 1.5, "a log-odds, not a rating"


def test_two_ratings_are_labels(split):
    log = split.dataset.interactions
    ds = replace(split.dataset, interactions=log.assign(rating=log["label"] * 4.0 + 1))
    two = klm.split(ds, "random")

    def trained(loss):
        model = klm.KLMRecommender.from_split(two)
        klm.fit(model, two, klm.TrainConfig(**LABEL | {"loss": loss, "epochs": 1}))
        return model

    assert same(trained(None), trained("bce")) and not same(trained(None), trained("squared_error"))


def test_probabilities_are_calibrated_on_valid(build, split):
    model = build()
    klm.fit(model, split, klm.TrainConfig(**LABEL))
    rows = split.valid
    p = model.predict(rows["user_id"], rows["item_id"])
    assert p.mean() == pytest.approx(rows["label"].mean(), abs=0.03) and model.scale > 0
    klm.fit(model, split, klm.TrainConfig(**INTERACTION))
    assert (model.scale, model.shift) == (1, 0)


def test_a_large_decay_holds_its_group_down(build, split):
    sizes = {}
    for name in ("decay_ids", "decay_maps", "decay_biases"):
        model = build()
        decays = {"decay_ids": 0.0, "decay_maps": 0.0, "decay_biases": 0.0} | {name: 50.0}
        klm.fit(model, split, klm.TrainConfig(**LABEL | decays))
        sizes[name] = {k: sum(p.norm().item() for p in group) for k, group in model.fusion.groups().items()}
    for name, group in (("decay_ids", "ids"), ("decay_maps", "maps"), ("decay_biases", "biases")):
        others = [sizes[other][group] for other in sizes if other != name]
        assert sizes[name][group] < 0.5 * min(others)
        assert sizes[name]["constant"] > 1


@BOTH
def test_frozen_text_vectors_and_all_else_known_stay(ds, split, encoder, settings):
    model = klm.KLMRecommender.from_split(split, encoder, profile="both")
    before = {name: b.clone() for name, b in model.fusion.named_buffers()}
    language_model = {name: p.clone() for name, p in encoder.model.state_dict().items()}
    start = weights(model)
    klm.fit(model, split, klm.TrainConfig(**settings))
    assert same(before, dict(model.fusion.named_buffers())) and same(language_model, dict(encoder.model.state_dict()))
    assert not any(torch.equal(start[name], p) for name, p in weights(model).items()), "everything else is trained"


# seeds


@BOTH
def test_the_same_seed_gives_the_same_model_whatever_the_global_state(build, split, settings):
    def trained(seed):
        model = build()
        return model, klm.fit(model, split, klm.TrainConfig(**settings, seed=seed))

    torch.manual_seed(1)
    one, first = trained(0)
    torch.manual_seed(2)
    two, second = trained(0)
    assert (
        same(one, two) and rows_of(first).equals(rows_of(second)) and (one.scale, one.shift) == (two.scale, two.shift)
    )
    assert not same(one, trained(1)[0])


@BOTH
def test_no_global_random_state_is_touched(build, split, settings):
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    klm.fit(build(), split, klm.TrainConfig(**settings | {"epochs": 2}))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before[1:]


def test_each_epoch_draws_anew(build, split, monkeypatch):
    orders, randperm = [], torch.randperm
    monkeypatch.setattr(torch, "randperm", lambda *a, **k: orders.append(randperm(*a, **k)) or orders[-1])
    klm.fit(build(), split, klm.TrainConfig(**LABEL | {"epochs": 2}))
    assert len(orders) == 2 and not torch.equal(*orders)


def test_the_seed_of_the_model_is_that_of_its_start(build):
    assert same(build(seed=3), build(seed=3)) and not same(build(seed=3), build(seed=4))


# stopping


@BOTH
def test_early_stopping_leaves_the_weights_of_the_best_epoch(build, split, settings):
    """Without decay and dropout it overfits, so that the last epoch is not the best."""
    free = dict.fromkeys(("decay_ids", "decay_maps", "decay_biases", "id_dropout", "user_dropout"), 0.0)
    model = build()
    config = klm.TrainConfig(**settings | {"epochs": 60, "patience": 3, "lr": 0.05} | free)
    history = klm.fit(model, split, config)
    valid = history.epochs["valid"]
    assert history.stopped == "early" and len(valid) == history.best_epoch + 3 < 60
    assert valid.idxmax() == history.best_epoch and history.metric in str(history)
    found = value_on_valid(model, split, settings["objective"])
    assert found == pytest.approx(valid.max(), abs=1e-12) != valid.iloc[-1]
    short = build()
    klm.fit(short, split, replace(config, epochs=history.best_epoch))
    assert same(short, model), "as if it had been told when to stop"


def test_the_history_tells_what_happened(build, split, capsys):
    history = klm.fit(build(), split, klm.TrainConfig(**LABEL, verbose=True))
    assert history.epochs.index.tolist() == [1, 2, 3, 4] and list(history.epochs) == ["loss", "valid", "seconds"]
    assert history.stopped == "epochs" and history.metric == "auc" and (history.epochs["seconds"] > 0).all()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and all(f"epoch {n:3d}" in line for n, line in enumerate(lines, 1))
    klm.fit(build(), split, klm.TrainConfig(**LABEL, verbose=False))
    assert capsys.readouterr() == ("", "")


def test_somebody_who_looks_sees_that_it_goes_on(build, split, monkeypatch):
    shown = []
    monkeypatch.setattr("klm_utils.progress._show", shown.append)
    klm.fit(build(), split, klm.TrainConfig(**LABEL))
    assert shown[0].startswith("epoch 1: 0 of 560") and shown[-1] == ""
    shown.clear()
    klm.fit(build(), split, klm.TrainConfig(**LABEL, verbose=False))
    assert not shown


# what cannot be trained


def test_a_model_of_another_split_is_refused(build, split, ds):
    for other in (klm.split(ds, "random", seed=1), klm.split(ds, "cold_item")):
        with pytest.raises(ConfigError, match="another split") as caught:
            klm.fit(build(), other, klm.TrainConfig(**LABEL))
        assert caught.value.found == other.protocol and caught.value.expected == split.protocol


@pytest.mark.parametrize("part", ["train", "valid"])
def test_one_label_alone_teaches_nothing(ds, split, part):
    log = ds.interactions.copy()
    log.loc[getattr(split, part).index, "label"] = 1
    one = klm.split(replace(ds, interactions=log), "random")
    model = klm.KLMRecommender.from_split(one)
    with pytest.raises(DataError, match=f"split.{part}") as caught:
        klm.fit(model, one, klm.TrainConfig(**LABEL))
    assert caught.value.found == 1
    klm.fit(model, one, klm.TrainConfig(**INTERACTION | {"epochs": 1}))  # another question, which has an answer


def test_nothing_chosen_teaches_nothing(ds):
    none = replace(ds, interactions=ds.interactions.assign(label=0), chosen_by="label")
    split = klm.split(none, "random")
    with pytest.raises(DataError, match="nothing to tell apart"):
        klm.fit(klm.KLMRecommender.from_split(split), split, klm.TrainConfig(**INTERACTION))


def test_only_chosen_rows_are_positives():
    """Of impressions, the merely shown ones are no choice: where nobody chooses what is shown, it sinks."""
    ds = planted(chosen_by="label")
    log = ds.interactions.assign(label=(ds.interactions["item_id"] % 2).astype("int64"))
    ds = replace(ds, interactions=log)
    split = klm.split(ds, "random")
    model = klm.KLMRecommender.from_split(split)
    klm.fit(model, split, klm.TrainConfig(**INTERACTION | {"epochs": 8, "lr": 0.05}))
    odd = ds.items.index % 2 == 1
    p = model.predict_grid(ds.users.index, ds.items.index).mean(0)
    assert p[odd].mean() > 3 * p[~odd].mean()


@pytest.mark.parametrize("lr", [1e3, 1e6])
@BOTH
def test_a_loss_that_explodes_is_told(build, split, settings, lr):
    model = build()
    decays = {"decay_ids": 1.0, "decay_maps": 1.0, "decay_biases": 1.0}  # each step multiplies a weight by 1 - lr
    with pytest.raises(ConfigError, match="no longer finite") as caught:
        klm.fit(model, split, klm.TrainConfig(**settings | {"lr": lr, "epochs": 30, "patience": 30} | decays))
    assert re.search(r"epoch \d+", caught.value.where) and str(lr) in caught.value.remedy
    assert not model.training


def test_weights_that_explode_in_the_last_step_are_told(build, split):
    """One step an epoch, so that the loss is still a number when the weights are too large to multiply."""
    decays = dict.fromkeys(("decay_ids", "decay_maps", "decay_biases"), 1e6)
    with pytest.raises(ConfigError, match="no longer finite") as caught:
        klm.fit(build(), split, klm.TrainConfig(**INTERACTION | {"lr": 1e6, "batch": 1000} | decays))
    assert re.search(r"loss \d", caught.value.found) and "nan" not in caught.value.found


@pytest.mark.parametrize(
    "wrong",
    [
        {"objective": "x"},
        {"objective": None},
        {"objective": ["label"]},
        {"loss": "stars"},
        {"loss": "ordinal", "objective": "interaction"},
        {"epochs": 0},
        {"verbose": "no"},
        {"epochs": 2.5},
        {"epochs": None},
        {"patience": 0},
        {"batch": True},
        {"batch": -4},
        {"lr": float("nan")},
        {"lr": float("inf")},
        {"lr": -0.1},
        {"lr": "0.1"},
        {"id_dropout": 1.5},
        {"user_dropout": -0.1},
        {"lr": True},
        {"lr": 1e30},
        {"decay_ids": -1},
        {"decay_maps": float("nan")},
        {"decay_biases": "small"},
        {"seed": 1.5},
        {"seed": -1},
        {"seed": None},
        {"seed": True},
    ],
    ids=str,
)
def test_a_setting_without_meaning(wrong):
    (name, value), *_ = wrong.items()
    with pytest.raises(ConfigError, match=name) as caught:
        klm.TrainConfig(**wrong)
    assert caught.value.found is value and caught.value.expected and caught.value.remedy


def test_what_is_left_out_comes_from_the_preset():
    for objective, preset in PRESETS.items():
        config = klm.TrainConfig(objective=objective)
        assert {name: getattr(config, name) for name in preset} == preset
        name = "decay_ids"
        assert getattr(klm.TrainConfig(objective=objective, **{name: 0}), name) == 0
    with pytest.raises(FrozenInstanceError):
        config.lr = 1.0


def test_dropout_is_that_of_the_config(build, split):
    """At 1 every item and user is met as new: their vectors get no gradient and only decay; here there is none."""
    free = dict.fromkeys(("decay_ids", "decay_maps", "decay_biases"), 0.0)
    model = build()
    start = weights(model)
    klm.fit(model, split, klm.TrainConfig(**LABEL | {"epochs": 2, "id_dropout": 1.0, "user_dropout": 1.0} | free))
    moved = {name for name, p in weights(model).items() if not torch.equal(p, start[name])}
    assert moved == {"fusion.constant", "fusion.item_map", "fusion.user_map"}


def test_history_is_a_table(build, split):
    history = klm.fit(build(), split, klm.TrainConfig(**LABEL | {"epochs": 1}))
    assert isinstance(history.epochs, pd.DataFrame) and history.epochs.index.name == "epoch"
    assert "1 epochs" in str(history) and history.best_epoch == 1


def test_the_average_of_the_weights_is_what_is_kept(ds, split):
    """Without averaging the weights of the last step are kept; with it they lag behind, so other weights result."""
    kept = []
    for average in (0.0, 0.95):
        model = klm.KLMRecommender.from_split(split)
        klm.fit(model, split, klm.TrainConfig(epochs=2, average=average))
        kept.append(model.fusion.item_ids.detach().clone())
    assert not torch.equal(*kept)
    with pytest.raises(klm.ConfigError, match="average"):
        klm.TrainConfig(average=1.0)


@pytest.mark.parametrize("fails", [False, True])
def test_small_tensors_get_one_thread_and_the_caller_keeps_theirs(build, split, fails, monkeypatch):
    before, inside = torch.get_num_threads(), []
    torch.set_num_threads(2)
    stepped(monkeypatch, 7, ctrl_c if fails else lambda: inside.append(torch.get_num_threads()))
    try:
        with pytest.raises(KeyboardInterrupt) if fails else nullcontext():
            klm.fit(build(), split, klm.TrainConfig(**LABEL))
        assert torch.get_num_threads() == 2 and inside == ([] if fails else [1])
    finally:
        torch.set_num_threads(before)


def test_what_is_watched_has_the_threads_of_the_caller(build, split):
    before, inside = torch.get_num_threads(), []
    torch.set_num_threads(2)
    try:
        klm.fit(build(), split, klm.TrainConfig(**LABEL), watch=lambda m: inside.append(torch.get_num_threads()) or {})
    finally:
        torch.set_num_threads(before)
    assert inside == [2] * LABEL["epochs"]


def test_two_threads_add_up_in_one_order(movielens, monkeypatch):
    """At the default batch a gradient of rows is summed by several threads."""
    monkeypatch.setattr("klm_utils.training.loop.SMALL", 0)
    ds, threads = movielens, torch.get_num_threads()
    split = klm.split(ds, "random")
    torch.set_num_threads(2)
    try:
        models = [klm.KLMRecommender.from_split(split) for _ in range(2)]
        for model in models:
            klm.fit(model, split, klm.TrainConfig(epochs=2))
    finally:
        torch.set_num_threads(threads)
    assert same(*models)


def test_what_is_watched_cannot_decide(build, split):
    with pytest.raises(ConfigError, match="the training's own"):
        klm.fit(build(), split, klm.TrainConfig(**LABEL), watch=lambda model: {"valid": 1.0})


def test_another_log_under_the_same_protocol_is_seen(build, split):
    other = klm.split(planted(seed=1), "random")
    assert other.protocol == split.protocol
    with pytest.raises(ConfigError, match="built for other rows"):
        klm.fit(build(), other, klm.TrainConfig(**LABEL))


def test_a_seed_may_be_any_whole_number(build, split):
    klm.fit(build(), split, klm.TrainConfig(**LABEL | {"epochs": 1, "seed": 2**62}))
