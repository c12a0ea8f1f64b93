"""Each mode trains exactly what it names: counted, compared bit by bit, and learned from."""

import numpy as np
import pytest
import torch
from worlds import BOTH, planted, rows_of, same, tiny_encoder, weights

import klm_utils as klm
from klm_utils.course.lessons import cost
from klm_utils.embedding import modes
from klm_utils.errors import CheckpointError, ConfigError
from klm_utils.training import distributed, objectives

TRAINED = ("adapter", "partial", "full")
LM = {"lr": 0.02, "lr_text": 0.01, "head_epochs": 1, "epochs": 3, "warmup": 2, "dropout_text": 0.0}
SETTINGS = {"label": {"objective": "label", "batch": 128}, "interaction": {"objective": "interaction", "batch": 8}}


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KLM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield tiny_encoder(layers=3)


def fitted(split, encoder, mode, objective="interaction", tuning=None, folder=None, **changed):
    model = klm.KLMRecommender.from_split(split, encoder, mode=mode, tuning=tuning)
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    history = klm.fit(model, split, klm.TrainConfig(**SETTINGS[objective] | LM | changed), checkpoint_dir=folder)
    return model, history, start


def test_minilm_has_so_many_parameters_to_train():
    """Counted by hand from the sizes: width 384, inner width 1536, 6 layers, 512 positions, 2 types, 30,522 tokens."""
    encoder = klm.TextEncoder.from_pretrained("minilm")
    layer = 4 * (384 * 384 + 384) + (384 * 1536 + 1536) + (1536 * 384 + 384) + 4 * 384
    other, table = (512 + 2) * 384 + 2 * 384, 30_522 * 384
    lora = 8 * (4 * (384 + 384) + 2 * (384 + 1536))
    total = 6 * layer + other + table
    found = {mode: modes.counts(modes.tuned(encoder, mode).model) for mode in modes.MODES}
    assert found == {
        "frozen": (0, total),
        "adapter": (6 * lora, total + 6 * lora),
        "partial": (2 * layer, total),
        "full": (6 * layer + other, total),
    }
    assert modes.counts(modes.tuned(encoder, "full", {"tokens": True}).model) == (total, total)
    assert modes.counts(modes.tuned(encoder, "partial", {"layers": 1}).model)[0] == layer
    assert modes.counts(modes.tuned(encoder, "adapter", {"rank": 2}).model)[0] == 6 * lora // 4
    assert modes.counts(encoder.model) == (total, total), "the caller's encoder wants what it wanted"


@pytest.mark.parametrize("mode", TRAINED)
def test_a_tuned_encoder_starts_with_the_same_vectors(deep, mode):
    texts = ["red car", "big blue shoe", ""]
    assert np.allclose(modes.tuned(deep, mode).encode(texts, cache=False), deep.encode(texts, cache=False), atol=1e-6)


@pytest.mark.parametrize("objective", SETTINGS)
@pytest.mark.parametrize("mode", TRAINED)
def test_what_the_mode_names_moves_and_the_rest_is_equal_to_the_bit(split, deep, mode, objective):
    before = deep.fingerprint
    model, history, start = fitted(split, deep, mode, objective)
    assert deep.fingerprint == before and all(p.requires_grad for p in deep.model.parameters())
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, start[name]) and "texts" in name}
    names = {name for name, p in model.named_parameters() if "texts" in name}
    expected = {
        "adapter": {name for name in names if "lora_" in name},
        "partial": {name for name in names if "layer.1." in name or "layer.2." in name},
        "full": {name for name in names if "word_embeddings" not in name},
    }[mode]
    # a key's bias shifts all scores of a softmax alike: its gradient is rounding
    assert {n for n in expected if "key.bias" not in n} <= moved <= expected and len(expected) < len(names)
    assert np.isfinite(history.epochs["loss"]).all() and history.epochs["loss"].min() < history.epochs["loss"][1]


def test_frozen_has_no_language_model_to_move(split, deep):
    before = deep.fingerprint
    model, *_ = fitted(split, deep, "frozen")
    assert model.texts is None and deep.fingerprint == before
    assert not any(p.grad is not None for p in deep.model.parameters())


@pytest.mark.parametrize("mode", TRAINED)
def test_the_vectors_in_the_model_are_those_of_its_own_encoder(split, deep, mode):
    model, *_ = fitted(split, deep, mode)
    texts = klm.knowledge.templates.item_texts(split.dataset)
    assert np.allclose(model.texts.encoder.encode(texts, cache=False), model.fusion.text.numpy(), atol=1e-6)
    assert not np.allclose(deep.encode(texts), model.fusion.text.numpy(), atol=1e-3)


@pytest.mark.parametrize("mode", TRAINED)
def test_a_saved_model_predicts_the_same_and_its_encoder_can_be_loaded(split, deep, mode, tmp_path):
    model, *_ = fitted(split, deep, mode)
    model.save_pretrained(tmp_path)
    again = klm.KLMRecommender.from_pretrained(tmp_path)
    users, items = split.test["user_id"], split.test["item_id"]
    assert np.array_equal(again.predict(users, items), model.predict(users, items)) and again.name == model.name
    (folder,) = tmp_path.glob("encoder-*")
    card = (tmp_path / "README.md").read_text()
    call = next(line for line in card.splitlines() if line.startswith("encoder = ")).removeprefix("encoder = ")
    encoder = eval(call, {"klm": klm, "FOLDER": str(tmp_path)})
    texts = klm.knowledge.templates.item_texts(split.dataset)
    assert np.allclose(encoder.encode(texts, cache=False), model.fusion.text.numpy(), atol=1e-5)
    with pytest.raises(ConfigError, match="is not here"):
        klm.fit(again, split, klm.TrainConfig(**SETTINGS["interaction"]))
    first = folder.name
    klm.fit(model, split, klm.TrainConfig(**SETTINGS["interaction"] | LM, seed=1))
    model.save_pretrained(tmp_path)
    assert [f.name for f in tmp_path.glob("encoder-*")] != [first] and len(list(tmp_path.glob("*encoder-*"))) == 1


def test_only_the_encoder_of_an_older_model_goes(split, deep, tmp_path):
    model, *_ = fitted(split, deep, "full")
    here, there = tmp_path / "here", tmp_path / "there"
    model.save_pretrained(here)
    (here / "encoder-mine").mkdir()
    (here / "encoder-notes.txt").write_text("mine")
    klm.KLMRecommender.from_pretrained(here).save_pretrained(here, reports=[klm.evaluate(model, split)])
    assert len(list(here.glob("encoder-*"))) == 3 and "encoder = " in (here / "README.md").read_text()
    klm.KLMRecommender.from_pretrained(here).save_pretrained(there)
    assert not list(there.glob("encoder-*")) and "encoder = " not in (there / "README.md").read_text()
    klm.KLMRecommender.from_split(split, deep).save_pretrained(here)
    assert sorted(old.name for old in here.glob("encoder-*")) == ["encoder-mine", "encoder-notes.txt"]


def test_head_epochs_of_the_preset_must_leave_some_for_the_language_model(split, deep):
    model = klm.KLMRecommender.from_split(split, deep, mode="full")
    with pytest.raises(ConfigError, match="would never be trained"):
        klm.fit(model, split, klm.TrainConfig(epochs=20))


def test_the_loss_of_an_epoch_is_the_mean_over_train(split, deep):
    """Item-grouped steps hold unequal numbers of rows."""
    still = {"lr": 0.0, "lr_text": 0.0, "epochs": 1, "head_epochs": 0, "id_dropout": 0.0, "user_dropout": 0.0}
    model, history, _ = fitted(split, deep, "full", "label", **still)
    rows = split.train
    error = model.scores(rows["user_id"], rows["item_id"]) - rows["rating"].to_numpy()
    assert history.epochs["loss"][1] == pytest.approx(np.mean(error**2), rel=1e-5)


def test_a_full_disk_while_the_encoder_is_saved_harms_nothing(split, deep, tmp_path, full_disk):
    model, *_ = fitted(split, deep, "full")
    with full_disk(), pytest.raises(CheckpointError):
        model.save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("objective", SETTINGS)
@pytest.mark.parametrize("mode", TRAINED)
def test_a_run_goes_on_bit_for_bit(split, deep, mode, objective, tmp_path):
    options = {"dropout_text": 0.1} if mode == "full" else {"mlm": 0.0}
    whole, history, _ = fitted(split, deep, mode, objective, **options)
    fitted(split, deep, mode, objective, folder=tmp_path, **options | {"epochs": 2})
    again, resumed, _ = fitted(split, deep, mode, objective, folder=tmp_path, **options)
    assert same(whole, again) and rows_of(history).equals(rows_of(resumed)) and len(weights(again)) > 12


def test_equal_seeds_agree_and_nothing_global_moves(split, deep):
    state = torch.get_rng_state()
    one, two = (fitted(split, deep, "full", dropout_text=0.1)[0] for _ in range(2))
    assert same(one, two) and torch.equal(state, torch.get_rng_state())
    assert not same(one, fitted(split, deep, "full", dropout_text=0.1, seed=1)[0])


def test_gradient_checkpointing_changes_memory_and_nothing_else(split, deep):
    plain, *_ = fitted(split, deep, "full")
    less, *_ = fitted(split, deep, "full", tuning={"checkpointing": True})
    assert [any(getattr(m, "gradient_checkpointing", False) for m in x.texts.modules()) for x in (less, plain)] == [
        1,
        0,
    ]
    for name, value in weights(plain).items():
        assert torch.allclose(value, weights(less)[name], atol=1e-5), name


def test_head_epochs_leave_the_language_model_alone(split, deep):
    model, _, start = fitted(split, deep, "full", head_epochs=3)
    frozen, *_ = fitted(split, deep, "frozen", head_epochs=0, warmup=2, clip=1.0)
    assert all(torch.equal(p, start[name]) for name, p in model.named_parameters() if "texts" in name)
    assert same({n: p for n, p in weights(model).items() if "fusion" in n}, frozen)


def test_patience_counts_from_the_first_epoch_of_the_language_model(split, deep):
    _, history, _ = fitted(split, deep, "full", head_epochs=6, epochs=9, patience=1, lr=0.0, lr_text=0.0)
    assert len(history.epochs) == 7 and history.stopped == "early"


def test_one_step_has_the_gradient_of_the_definition(split, deep):
    """dL/dtheta through the texts of the batch, against the loss written out with all texts read anew."""
    model = klm.KLMRecommender.from_split(split, deep, mode="full")
    config = klm.TrainConfig(objective="interaction", batch=8, id_dropout=0.0, user_dropout=0.0).of("full")
    task = objectives.task(model, split, config)
    at = torch.arange(8)
    task.loss(at, model.read(task.items(at)), None).backward()
    got = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    users, items = model.fusion.known_users[:, 0].nonzero()[:, 0], task.items(at)
    u, i = users.repeat_interleave(8), items.repeat(len(users))
    z, y = model(u, i, model.read(torch.arange(len(model.items)))[i]), model.fusion.met(u, i).float()
    klm.losses.bce_with_logits(z, y).backward()
    want = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert got.keys() == want.keys() and sum("texts" in name for name in got) > 40
    for name, grad in want.items():
        assert torch.allclose(got[name], grad, atol=1e-6, rtol=1e-4), name


def test_separate_learning_rates_and_warm_up(split, deep, monkeypatch):
    seen = []
    step = torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW, "step", lambda o, *a: (seen.append([g["lr"] for g in o.param_groups]), step(o, *a))[1]
    )
    fitted(split, deep, "full", head_epochs=1, epochs=3, warmup=4, lr=0.02, lr_text=0.005)
    rates, steps = np.array(seen), 4  # 30 items, 8 a step
    assert rates.shape == (3 * steps, 5)  # ids, maps, biases, constant; the language model
    assert np.allclose(rates[:5, 0], 0.02 * np.arange(1, 6) / 5) and np.allclose(rates[5:, :4], 0.02)
    assert np.allclose(rates[:, 4], 0.005 * np.clip(np.arange(1, 13) - steps, 0, 5) / 5)


def test_clipping_shortens_a_long_gradient(split, deep, monkeypatch):
    lengths, step = [], torch.optim.AdamW.step

    def measured(self, *args):
        grads = [p.grad for g in self.param_groups for p in g["params"] if p.grad is not None]
        lengths.append(torch.stack([g.norm() for g in grads]).norm().item())
        return step(self, *args)

    monkeypatch.setattr(torch.optim.AdamW, "step", measured)
    fitted(split, deep, "full", clip=0.0)
    free, lengths = lengths[:], []
    fitted(split, deep, "full", clip=0.01)
    assert max(free) > 0.02 and max(lengths) <= 0.0101


def test_half_the_bits_give_nearly_the_same(split, deep):
    whole, history, _ = fitted(split, deep, "full", precision="float32", lr=0.005, lr_text=0.001)
    half, other, _ = fitted(split, deep, "full", precision="bfloat16", lr=0.005, lr_text=0.001)
    assert not same(whole, half) and all(p.dtype == torch.float32 for p in half.parameters())
    assert np.allclose(history.epochs["loss"], other.epochs["loss"], rtol=0.02)


def test_each_text_has_its_own_vector_whatever_its_length(split, deep, monkeypatch):
    monkeypatch.setattr("klm_utils.models.item_texts.TOGETHER", 4)
    texts = [" ".join(["red", "big", "plus", "shoe"][: 1 + n % 4] * (1 + n % 3)) for n in range(30)]
    model = klm.KLMRecommender.from_split(split, deep, mode="full", texts=texts)
    items = torch.tensor([3, 0, 29, 7, 11, 4, 5])
    want = deep.encode([texts[item] for item in items], cache=False)
    assert np.allclose(model.texts(items).detach().numpy(), want, atol=1e-6)


def test_each_epoch_and_each_process_drops_other_units_of_the_language_model(split, deep, monkeypatch):
    seeds, seed = [], torch.manual_seed
    monkeypatch.setattr(torch, "manual_seed", lambda value: (seeds.append(value), seed(value))[1])
    monkeypatch.setattr(distributed, "part", lambda batch: batch)
    drawn = []
    for rank in (0, 1):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        fitted(split, deep, "full", dropout_text=0.1)
        drawn.append(seeds[-3:])
    assert len(set(drawn[0])) == len(set(drawn[1])) == 3 and drawn[1] == [value + 1 for value in drawn[0]]


def test_shuffled_texts_are_those_of_the_shuffled_vectors(ds, split, deep):
    frozen = klm.KLMRecommender.from_split(split, deep, knowledge="shuffled", seed=3)
    full = klm.KLMRecommender.from_split(split, deep, knowledge="shuffled", mode="full", seed=3)
    vectors = full.texts(torch.arange(len(ds.items))).detach()
    assert torch.allclose(vectors, frozen.fusion.text, atol=1e-6)
    assert full.name == "KLM tiny full shuffled"


def test_each_text_is_read_once_for_all_of_its_rows(split, deep):
    model = klm.KLMRecommender.from_split(split, deep, mode="full")
    config = klm.TrainConfig(objective="label", head_epochs=0, epochs=1, batch=128)
    with cost.positions_read(model.texts.model) as count:
        klm.fit(model, split, config)
    longest = max(map(len, model.texts.ids))
    assert count[0] <= 3 * len(model.items) * longest  # train, valid and the last reading
    rows = split.train["item_id"].map(dict(zip(model.items.index, map(len, model.texts.ids), strict=True))).sum()
    assert rows > 5 * count[0] / 3


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"mode": "lora"}, "Unknown mode"),
        ({"mode": "partial", "tuning": {"rank": 3}}, "Unknown option of mode 'partial'"),
        ({"mode": "frozen", "tuning": {"rank": 3}}, "Unknown option of mode 'frozen'"),
        ({"mode": "partial", "tuning": {"layers": 4}}, "fewer layers"),
        ({"mode": "partial", "tuning": {"layers": 0}}, "at least 1"),
        ({"mode": "full", "tuning": {"tokens": "yes"}}, "tokens is neither"),
        ({"mode": "full", "encoder": None}, "needs an encoder"),
        ({"mode": "full", "knowledge": "random"}, "Unknown knowledge"),
    ],
)
def test_what_has_no_meaning_is_refused(ds, split, deep, options, match):
    with pytest.raises(ConfigError, match=match):
        klm.KLMRecommender.from_split(split, **{"encoder": deep} | options)


@pytest.mark.parametrize(
    "settings", [{"objective": "label", "loss": "bpr"}, {"objective": "interaction", "loss": "softmax"}]
)
def test_losses_that_score_more_than_a_step_can_read_are_refused(split, deep, settings):
    model = klm.KLMRecommender.from_split(split, deep, mode="full")
    with pytest.raises(ConfigError, match="more items than a step can read"):
        klm.fit(model, split, klm.TrainConfig(**settings))


@pytest.mark.parametrize("loss", ["ordinal", "bce", "squared_error", "info_nce"])
def test_the_other_losses_reach_the_language_model(split, deep, loss):
    objective = "interaction" if loss == "info_nce" else "label"
    model, history, start = fitted(split, deep, "partial", objective, loss=loss, head_epochs=0)
    assert any(not torch.equal(p, start[n]) for n, p in model.named_parameters() if "texts" in n)
    assert history.epochs["loss"].iloc[-1] < history.epochs["loss"][1]


def test_a_fusion_that_scores_pairs_can_be_trained_to_the_end(split, deep):
    model = klm.KLMRecommender.from_split(split, deep, fusion="gate", mode="partial")
    start = {name: p.detach().clone() for name, p in model.texts.named_parameters()}
    klm.fit(model, split, klm.TrainConfig(**SETTINGS["interaction"] | LM))
    assert any(not torch.equal(p, start[n]) for n, p in model.texts.named_parameters())


def test_curves_for_tensorboard_and_what_is_watched(split, deep, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    model = klm.KLMRecommender.from_split(split, deep, mode="full")
    seen, written = [], []

    def watch(now):
        events = EventAccumulator(str(tmp_path)).Reload()
        written.append(len(events.Scalars("loss")) if events.Tags()["scalars"] else 0)
        seen.append(now.predict(split.test["user_id"], split.test["item_id"]))
        return {"test": klm.metrics.auc(split.test["label"], seen[-1])}

    history = klm.fit(model, split, klm.TrainConfig(**SETTINGS["label"] | LM), log_dir=tmp_path, watch=watch)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert written == [0, 1, 2], "each epoch is on the disk before the next one begins"
    assert set(events.Tags()["scalars"]) == {"loss", "valid", "seconds", "test"}
    for name in ("loss", "valid", "test"):
        assert np.allclose([event.value for event in events.Scalars(name)], history.epochs[name])
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3]
    at = history.best_epoch - 1
    scores = model.scores(split.test["user_id"], split.test["item_id"])
    assert np.allclose(np.argsort(seen[at]), np.argsort(scores)), "what was watched is what is kept"


@BOTH
def test_watching_changes_nothing(split, deep, settings):
    models = [klm.KLMRecommender.from_split(split, deep, mode="full") for _ in range(2)]
    config = klm.TrainConfig(**settings | {"head_epochs": 1, "epochs": 3})
    one = klm.fit(models[0], split, config)
    two = klm.fit(models[1], split, config, watch=lambda model: {"half": 0.5})
    assert (
        same(*models) and (two.epochs["half"] == 0.5).all() and rows_of(one).equals(rows_of(two).drop(columns="half"))
    )


def test_text_helps_where_the_text_tells_and_training_helps_more():
    """A planted trait that is written in the texts: random frozen vectors say little of it, trained ones all."""
    ds = planted(1)
    split = klm.split(ds, "random")
    encoder = tiny_encoder(layers=2)
    texts = [f"{tags[0]} {'red' if place % 2 else 'green'} car" for place, tags in enumerate(ds.items["tags"])]
    model = klm.KLMRecommender.from_split(split, encoder, mode="full", texts=texts)
    config = klm.TrainConfig(objective="label", batch=128, lr=0.02, lr_text=0.01, head_epochs=0, epochs=15)
    klm.fit(model, split, config)
    plus = np.array([tags[0] == "plus" for tags in ds.items["tags"]])
    vectors = model.fusion.text.numpy()

    def apart(x):
        return np.linalg.norm(x[plus].mean(0) - x[~plus].mean(0)) / (x[plus].std(0).mean() + x[~plus].std(0).mean())

    assert apart(vectors) > 2 * apart(encoder.encode(texts, cache=False))
