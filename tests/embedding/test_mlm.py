"""Masked language modelling: the loss, its gradient beside the recommender's, and perplexity against hand counts."""

from math import exp, log

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from worlds import WORDS, planted, rows_of, same, tiny_encoder

import klm_utils as klm
from klm_utils.embedding import mlm
from klm_utils.errors import ConfigError, DataError
from klm_utils.training import objectives, optimizer

TEXTS = ["red car plus", "green shoe minus", "big phone plus", "small book minus", "red shoe plus", "green car minus"]


@pytest.fixture(scope="module")
def guesser():
    """Knows a mask, and its tokens lie as far apart as those of a trained model."""
    encoder = tiny_encoder(layers=2, width=16, words=[*WORDS, "[MASK]"], mask_token="[MASK]")
    with torch.no_grad():
        encoder.model.get_input_embeddings().weight.mul_(25)
    return encoder


def test_the_gradient_of_the_joint_loss_is_the_sum_of_both(guesser):
    ds = planted()
    split = klm.split(ds, "random")
    model = klm.KLMRecommender.from_split(split, guesser, mode="full")
    model.texts.learn_to_guess()
    task = objectives.task(model, split, klm.TrainConfig(objective="interaction").of("full"))
    at = torch.arange(12)

    def gradients(rec, masked):
        model.zero_grad()
        loss = rec * task.loss(at, model.read(task.items(at)), torch.Generator().manual_seed(0))
        loss = loss + masked * model.texts.masked_loss(task.items(at), torch.Generator().manual_seed(1))
        loss.backward()
        return {name: p.grad.clone() for name, p in model.texts.model.named_parameters() if p.grad is not None}

    rec, masked, joint = gradients(1, 0), gradients(0, 1), gradients(1, 0.3)
    assert rec.keys() == joint.keys() and len(rec) > 30
    assert any(grad.abs().max() > 1e-4 for grad in masked.values())
    for name, grad in joint.items():
        assert torch.allclose(grad, rec[name] + 0.3 * masked[name], atol=1e-6), name


def test_a_step_of_fit_lowers_the_sum_with_this_lambda(guesser, split, monkeypatch):
    """With a second loss of which the gradient is known, 1 for each entry of one weight."""
    step = torch.optim.AdamW.step
    monkeypatch.setattr(
        "klm_utils.models.item_texts.ItemTexts.masked_loss",
        lambda texts, items, draw: texts.model.embeddings.LayerNorm.weight.sum(),
    )

    def gradient(weight):
        grads = []

        def kept(optimizer, *args):
            grads.append(model.texts.model.embeddings.LayerNorm.weight.grad.clone())
            return step(optimizer, *args)

        model = klm.KLMRecommender.from_split(split, guesser, mode="full")
        settings = {"objective": "interaction", "batch": 30, "epochs": 1, "head_epochs": 0, "dropout_text": 0.0}
        with monkeypatch.context() as patch:
            patch.setattr(torch.optim.AdamW, "step", kept)
            klm.fit(model, split, klm.TrainConfig(**settings, clip=0.0, mlm=weight))
        return grads[0]

    assert torch.allclose(gradient(0.3) - gradient(0.0), torch.tensor(0.3), atol=1e-6)


def test_the_head_has_its_own_learning_rate_and_all_of_the_language_model_its_decay(guesser, split):
    model = klm.KLMRecommender.from_split(split, guesser, mode="full")
    model.texts.learn_to_guess()
    config = klm.TrainConfig(objective="interaction", mlm=0.1, decay_text=0.07).of("full")
    of_text = [group for group in optimizer.parameter_groups(model, config) if group["of_text"]]
    assert [group["rate"] for group in of_text] == [config.lr_text, mlm.LR] and config.lr_text != mlm.LR
    assert [group["weight_decay"] for group in of_text] == [0.07, 0.07]
    assert not any(group["of_text"] and group["lr"] == config.lr for group in of_text)


def test_fifteen_percent_of_the_words_are_guessed(guesser, monkeypatch):
    guessed = []
    monkeypatch.setattr(mlm, "hide", lambda ids, chosen, *rest: (guessed.append(chosen), ids)[1])
    mlm.masked_loss(guesser, mlm.MaskedHead(guesser), guesser.tokenize(TEXTS * 500), torch.Generator().manual_seed(0))
    assert guessed[0].float().mean().item() == pytest.approx(0.15, abs=0.01)


def test_both_losses_fall(guesser):
    ds = planted()
    split = klm.split(ds, "random")
    model = klm.KLMRecommender.from_split(split, guesser, mode="full")
    model.texts.learn_to_guess()
    texts = klm.knowledge.templates.item_texts(ds)
    before = mlm.perplexity(model.texts.encoder, model.texts.head, texts)
    settings = {"objective": "interaction", "batch": 8, "lr": 0.02, "lr_text": 0.005, "head_epochs": 0}
    history = klm.fit(model, split, klm.TrainConfig(**settings, epochs=12, patience=12, mlm=1.0))
    assert mlm.perplexity(model.texts.encoder, model.texts.head, texts) < 0.5 * before
    assert history.epochs["loss"].iloc[-1] < history.epochs["loss"][1]


def test_a_joint_run_goes_on_bit_for_bit(guesser, tmp_path):
    ds = planted()
    split = klm.split(ds, "random")

    def run(epochs, folder=None):
        model = klm.KLMRecommender.from_split(split, guesser, mode="full")
        config = klm.TrainConfig(objective="interaction", batch=8, head_epochs=0, epochs=epochs, mlm=0.1)
        return model, klm.fit(model, split, config, checkpoint_dir=folder)

    whole, history = run(4)
    run(2, tmp_path)
    again, resumed = run(4, tmp_path)
    assert same(whole, again) and rows_of(history).equals(rows_of(resumed))


def test_what_is_hidden(guesser):
    """80 % mask, 10 % another token, 10 % as it was; nothing that was not chosen changes."""
    draw = torch.Generator().manual_seed(0)
    ids, chosen = torch.full((200, 100), 4), torch.zeros(200, 100, dtype=torch.bool)
    chosen[:, ::2] = True
    hidden = mlm.hide(ids, chosen, guesser, draw)
    assert (hidden[:, 1::2] == 4).all()
    seen = hidden[:, ::2].flatten()
    mask = guesser.tokenizer.mask_token_id
    words = guesser.model.config.vocab_size
    assert (seen == mask).float().mean().item() == pytest.approx(0.8 + 0.1 / words, abs=0.015)
    assert (seen == 4).float().mean().item() == pytest.approx(0.1 + 0.1 / words, abs=0.015)
    assert set(seen.tolist()) == set(range(words))


def test_perplexity_is_the_mean_over_every_token_hidden_once(guesser):
    """By hand: for texts of three words each of the folds hides one word of each."""
    head = mlm.MaskedHead(guesser)
    total, n = 0.0, 0
    with torch.no_grad():
        for ids in guesser.tokenize(TEXTS):
            for at in range(len(ids)):
                hidden = [*ids]
                hidden[at] = guesser.tokenizer.mask_token_id
                states = guesser.model(torch.tensor([hidden])).last_hidden_state[0]
                total += cross_entropy(head(states[at : at + 1]), torch.tensor([ids[at]])).item()
                n += 1
    assert mlm.perplexity(guesser, head, TEXTS) == pytest.approx(exp(total / n), rel=1e-4)
    assert mlm.perplexity(guesser, head, [""] * 2 + TEXTS) == pytest.approx(exp(total / n), rel=1e-4)


def test_unigram_perplexity_by_hand(guesser):
    words, size = 6, len(WORDS) + 1  # "red car plus red": red 2, car 1, plus 1 of four
    alpha = 0.5
    total = 4 + alpha * size
    want = exp(-(log((2 + alpha) / total) + log((0 + alpha) / total)) / 2)
    assert mlm.unigram_perplexity(guesser, ["red car plus", "red"], ["red shoe"], alpha) == pytest.approx(want)
    even = mlm.unigram_perplexity(guesser, TEXTS, TEXTS, 1e9)
    assert even == pytest.approx(size, rel=1e-3) and mlm.unigram_perplexity(guesser, TEXTS, TEXTS) < even
    assert words < size


def test_pretraining_learns_the_texts_and_leaves_the_encoder_alone(guesser):
    before, table = guesser.fingerprint, guesser.model.get_input_embeddings().weight.clone()
    encoder, head = mlm.pretrain(guesser, TEXTS, epochs=150, lr=5e-3)
    assert guesser.fingerprint == before != encoder.fingerprint
    assert torch.equal(encoder.model.get_input_embeddings().weight, table)
    start = mlm.perplexity(guesser, mlm.MaskedHead(guesser), TEXTS)
    assert mlm.perplexity(encoder, head, TEXTS) < 0.6 * mlm.unigram_perplexity(guesser, TEXTS, TEXTS) < start
    again, _ = mlm.pretrain(guesser, TEXTS, epochs=3)
    assert again.fingerprint == mlm.pretrain(guesser, TEXTS, epochs=3)[0].fingerprint


def test_nothing_global_moves(guesser, split):
    state = torch.get_rng_state()
    model = klm.KLMRecommender.from_split(split, guesser, mode="full")
    klm.fit(model, split, klm.TrainConfig(objective="interaction", batch=8, head_epochs=0, epochs=1, mlm=0.1))
    mlm.pretrain(guesser, TEXTS, epochs=1)
    assert torch.equal(state, torch.get_rng_state())


def test_texts_without_a_word_give_no_loss_and_no_perplexity(guesser):
    head = mlm.MaskedHead(guesser)
    loss = mlm.masked_loss(guesser, head, guesser.tokenize(["", ""]), torch.Generator().manual_seed(0))
    assert loss.item() == 0 and loss.requires_grad
    with pytest.raises(DataError, match="no token to guess"):
        mlm.perplexity(guesser, head, [""])
    with pytest.raises(DataError, match="no token to guess"):
        mlm.pretrain(guesser, [])
    for wrong in ("red car", ["red", None], 3):
        with pytest.raises(DataError, match="text"):
            mlm.pretrain(guesser, wrong)
    one = mlm.masked_loss(guesser, head, guesser.tokenize(["red"]), torch.Generator().manual_seed(0))
    assert np.isfinite(one.item()) and one.item() > 0


def test_models_without_a_mask_and_frozen_ones_are_refused(guesser, ds, split):
    with pytest.raises(ConfigError, match="cannot guess"):
        mlm.MaskedHead(tiny_encoder())
    model = klm.KLMRecommender.from_split(split, guesser)
    with pytest.raises(ConfigError, match="nothing to gain"):
        klm.fit(model, split, klm.TrainConfig(mlm=0.1))


def test_minilm_starts_worse_than_unigrams():
    """It comes without a head; one tied to its table of tokens knows less of film titles than their frequencies."""
    ds = klm.load_dataset("movielens-100k")
    encoder, texts = klm.TextEncoder.from_pretrained("minilm"), klm.knowledge.templates.item_texts(ds)
    unigram = mlm.unigram_perplexity(encoder, texts[:1000], texts[1000:1200])
    assert mlm.perplexity(encoder, mlm.MaskedHead(encoder), texts[1000:1200]) > 2 * unigram
