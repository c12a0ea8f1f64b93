"""fit(): it learns, it is the same twice, it can be stopped at any moment and goes on as if nothing had happened."""

import random
import re
from contextlib import nullcontext
from dataclasses import FrozenInstanceError, fields, replace

import numpy as np
import pytest
import torch
from worlds import BOTH, INTERACTION, LABEL, ctrl_c, planted, rows_of, same, stepped, weights

import klm_utils as klm
from klm_utils.errors import ConfigError, DataError
from klm_utils.evaluation import metrics, ranking
from klm_utils.training.config import LOSSES, MODE_PRESETS, PRESETS


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
    assert not [name for name, p in weights(model).items() if p.numel() and torch.equal(start[name], p)], "all trained"


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
    assert history.stopped == "epochs" and history.metric == "auc" and history.epochs.index.name == "epoch"
    assert (history.epochs["seconds"] > 0).all()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and all(f"epoch {n:3d}" in line for n, line in enumerate(lines, 1))
    klm.fit(build(), split, klm.TrainConfig(**LABEL, verbose=False))
    assert capsys.readouterr() == ("", "")


def test_somebody_who_looks_sees_that_it_goes_on(build, split, monkeypatch):
    shown = []
    monkeypatch.setattr("klm_utils.progress.line", lambda text, every=0.1: shown.append(text))
    klm.fit(build(), split, klm.TrainConfig(**LABEL))
    assert shown[0].startswith("epoch 1: 0 of 560") and "best in epoch" in shown[-1]
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
        {"objective": ["label"]},
        {"loss": "stars"},
        {"loss": "ordinal", "objective": "interaction"},
        {"log_q": False, "loss": "bce"},
        {"log_q": "no", "loss": "info_nce"},
        {"batch": 1, "loss": "info_nce"},
        {"verbose": "no"},
        {"epochs": 0},
        {"epochs": None},
        {"patience": 2.5},
        {"batch": True},
        {"negatives": 0},
        {"sample": -4},
        {"lr": float("nan")},
        {"lr": float("inf")},
        {"lr": "0.1"},
        {"lr": 1e30},
        {"decay_ids": -1},
        {"id_dropout": 1.5},
        {"average": 1.0},
        {"seed": -1},
    ],
    ids=str,
)
def test_a_setting_without_meaning(wrong):
    (name, value), *_ = wrong.items()
    with pytest.raises(ConfigError, match=name) as caught:
        klm.TrainConfig(**wrong)
    assert caught.value.found is value and caught.value.expected and caught.value.remedy


@pytest.mark.parametrize("objective", PRESETS)
@pytest.mark.parametrize("mode", MODE_PRESETS)
def test_what_is_left_out_comes_from_the_presets_of_objective_and_mode(objective, mode):
    config, wanted = klm.TrainConfig(objective).of(mode), PRESETS[objective] | MODE_PRESETS[mode]
    assert {name: getattr(config, name) for name in wanted} == wanted
    given = dict.fromkeys(wanted.keys() - {"batch", "head_epochs", "lr_text"}, 0)
    config = klm.TrainConfig(objective, batch=5, **given).of(mode)
    assert config.batch == 5 and all(getattr(config, name) == 0 for name in given)
    with pytest.raises(FrozenInstanceError):
        config.lr = 1.0


def test_a_printed_config_shows_each_value_or_what_it_follows_from():
    open_, resolved = (
        dict(line.split(maxsplit=1) for line in str(config).splitlines()[1:])
        for config in (klm.TrainConfig(), klm.TrainConfig("interaction", "softmax", seed=3).of("full"))
    )
    assert list(open_) == list(resolved) == [field.name for field in fields(klm.TrainConfig)]
    assert open_["lr"] == "by objective: label 0.01, interaction 0.005" and "full 3e-05" in open_["lr_text"]
    assert "else" in open_["objective"] and "else" in open_["loss"]
    assert resolved["lr"] == "0.005" and resolved["lr_text"] == "3e-05" and resolved["batch"] == "512"
    assert [name for name, value in resolved.items() if value == "None"] == ["verbose"]


@pytest.mark.parametrize(
    ("columns", "objective", "loss"),
    [
        ({}, "label", "squared_error"),
        ({"rating": 1.0}, "label", "bce"),
        ({"rating": 1.0, "label": 1}, "interaction", "bce"),
    ],
    ids=["ratings", "labels", "choices"],
)
def test_the_question_follows_from_what_the_log_holds(ds, columns, objective, loss):
    split = klm.split(replace(ds, interactions=ds.interactions.assign(**columns)), "random")
    models = [klm.KLMRecommender.from_split(split) for _ in range(2)]
    history = klm.fit(models[0], split, klm.TrainConfig(epochs=1))
    assert (history.config.objective, history.config.loss, models[0].objective) == (objective, loss, objective)
    klm.fit(models[1], split, klm.TrainConfig(objective, loss, epochs=1))
    assert same(*models)


def test_dropout_is_that_of_the_config(build, split):
    """At 1 every item and user is met as new: their vectors get no gradient and only decay; here there is none."""
    free = dict.fromkeys(("decay_ids", "decay_maps", "decay_biases"), 0.0)
    model = build()
    start = weights(model)
    klm.fit(model, split, klm.TrainConfig(**LABEL | {"epochs": 2, "id_dropout": 1.0, "user_dropout": 1.0} | free))
    moved = {name for name, p in weights(model).items() if not torch.equal(p, start[name])}
    assert moved == {"fusion.constant", "fusion.item_map", "fusion.user_map"}


def test_what_is_kept_is_the_running_average_of_the_weights(build, split, monkeypatch):
    """By hand: after step n the share min(average, n / (n + 9)) of it stays."""
    model, steps, step = build(), [], torch.optim.AdamW.step

    def kept(optimizer, *args):
        step(optimizer, *args)
        steps.append(model.fusion.item_ids.detach().clone())

    want = model.fusion.item_ids.detach().clone()
    monkeypatch.setattr(torch.optim.AdamW, "step", kept)
    klm.fit(model, split, klm.TrainConfig(**LABEL | {"epochs": 1}, average=0.2))
    for n, value in enumerate(steps, start=1):
        share = min(0.2, n / (n + 9))
        want = share * want + (1 - share) * value
    assert len(steps) > 3 and torch.allclose(model.fusion.item_ids, want, atol=1e-6)


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


def test_what_is_watched_cannot_decide_but_it_can_stop(build, split, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="the training's own"):
        klm.fit(build(), split, klm.TrainConfig(**LABEL), watch=lambda model: {"valid": 1.0})
    calls, stopped, short = [], build(), build()

    def watch(model):
        calls.append(1)
        return {"stop": len(calls) == 2} if len(calls) > 1 else None

    history = klm.fit(stopped, split, klm.TrainConfig(**LABEL), tmp_path, watch=watch)
    klm.fit(short, split, klm.TrainConfig(**LABEL | {"epochs": 2}))
    assert history.stopped == "watch" and len(history.epochs) == 2 and same(stopped, short)
    stepped(monkeypatch, 1, lambda: pytest.fail("a step was taken"))
    assert klm.fit(build(), split, klm.TrainConfig(**LABEL), tmp_path).stopped == "watch", "it is not gone on with"
