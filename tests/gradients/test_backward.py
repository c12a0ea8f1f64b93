"""The backward pass by hand against autograd through transformers' own BERT, and against differences."""

import pytest
import torch
from transformers import BertConfig, BertModel

from klm_utils.embedding import masked_mean
from klm_utils.gradients import backward, compare

HEADS, WIDTH, D = 2, 8, 4


@pytest.fixture(scope="module")
def made():
    """(parameters, arguments of `recommender` after them, the model they belong to)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=30, hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=HEADS, intermediate_size=16,
            max_position_embeddings=12, initializer_range=0.5,
        )  # fmt: skip
        model = BertModel(config, add_pooling_layer=False).double().eval()
        head = {
            "projection.weight": torch.randn(D, WIDTH),
            "projection.bias": torch.randn(D),
            "gate.weight": torch.randn(D, 2 * D),
            "gate.bias": torch.randn(D),
            "items": torch.randn(5, D),
            "users": torch.randn(3, D),
        }
        ids, mask = torch.randint(1, 30, (6, 7)), torch.ones(6, 7, dtype=torch.long)
    ids[2] = ids[1]  # a token at several places, and a text that two rows share
    mask[0, 4:] = mask[3, 2:] = 0
    items, users = torch.tensor([0, 1, 1, 3, 4, 0]), torch.tensor([0, 1, 2, 0, 1, 1])
    y = torch.tensor([1, 0, 1, 0, 0, 1], dtype=torch.float64)
    p = {name: value.detach() for name, value in model.named_parameters()}
    return p | {name: value.double() for name, value in head.items()}, (ids, mask, items, users, y), model


def by_torch(p, model, ids, mask, items, users, y):
    """The same loss with modules of others, for autograd."""
    body = {name: value for name, value in p.items() if name.startswith(("embeddings", "encoder"))}
    hidden = torch.func.functional_call(model, body, kwargs={"input_ids": ids, "attention_mask": mask})
    text = masked_mean(hidden.last_hidden_state, mask) @ p["projection.weight"].T + p["projection.bias"]
    item = p["items"][items]
    g = torch.sigmoid(torch.cat([item, text], -1) @ p["gate.weight"].T + p["gate.bias"])
    z = (p["users"][users] * (g * item + (1 - g) * text)).sum(-1)
    return torch.nn.functional.binary_cross_entropy_with_logits(z, y)


@pytest.fixture(scope="module")
def both(made):
    """(gradients by hand, gradients by autograd, the two losses)."""
    p, args, model = made
    p = {name: value.clone().requires_grad_() for name, value in p.items()}
    want = by_torch(p, model, *args)
    found = dict(zip(p, torch.autograd.grad(want, list(p.values())), strict=True))
    loss, grads = backward.recommender({name: value.detach() for name, value in p.items()}, *args, HEADS)
    return grads, found, (loss.item(), want.item())


def test_the_loss_is_the_same(both):
    assert both[2][0] == pytest.approx(both[2][1], abs=1e-14)


def test_every_gradient_is_that_of_autograd(both, made):
    grads, want, _ = both
    assert set(grads) == {*made[0], "embeddings"}
    for name, value in want.items():
        torch.testing.assert_close(
            grads[name], value, rtol=0, atol=1e-10, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_no_autograd_is_needed(made):
    with torch.inference_mode():
        loss, grads = backward.recommender(made[0], *made[1], HEADS)
    assert not loss.requires_grad and all(torch.isfinite(g).all() for g in grads.values())


@pytest.mark.parametrize(
    "name", ["gate.weight", "items", "encoder.layer.0.attention.self.query.weight", "embeddings.LayerNorm.weight"]
)
def test_some_against_differences(made, both, name):
    p, args, model = made
    assert compare(lambda value: by_torch(p | {name: value}, model, *args), both[0][name], p[name]).ok


def test_what_the_notebook_says_of_the_chain(made, both):
    grads, (ids, mask, *_) = both[0], made[1]
    assert grads["embeddings"][mask == 0].abs().max() == 0, "padding"
    unused = torch.ones(30, dtype=torch.bool)
    unused[ids[mask == 1].unique()] = False
    assert grads["embeddings.word_embeddings.weight"][unused].abs().max() == 0, "tokens that no text has"
    for layer in (0, 1):  # the same number on every score of a row: softmax does not see it
        assert grads[f"encoder.layer.{layer}.attention.self.key.bias"].abs().max() < 1e-14
    assert grads["items"][2].abs().max() == 0 < grads["items"][1].abs().max()


@pytest.mark.parametrize("step", ["linear", "layer_norm", "gelu", "attention", "masked_mean", "gate"])
def test_each_step_alone(step, made):
    draw = torch.Generator().manual_seed(1)

    def normal(*shape):
        return torch.randn(shape, generator=draw, dtype=torch.float64)

    p, (_, mask, *_) = made[0], made[1]
    x, grads = normal(6, 7, WIDTH), backward.Grads()
    layer = "encoder.layer.0.attention"
    run = {
        "linear": lambda x: backward.linear(x, p, f"{layer}.output.dense", grads),
        "layer_norm": lambda x: backward.layer_norm(x, p, f"{layer}.output.LayerNorm", grads),
        "gelu": backward.gelu,
        "attention": lambda x: backward.attention(x, mask, p, f"{layer}.self", HEADS, grads),
        "masked_mean": lambda x: backward.masked_mean(x, mask),
        "gate": lambda x: backward.gate(x, normal_text, p, "gate", grads),
    }[step]
    normal_text = normal(6, D)
    if step == "gate":
        x = normal(6, D)
    weight = normal(*run(x)[0].shape)

    def back(x):
        found = run(x)[1](weight)
        return found[0] if step == "gate" else found

    found = compare(lambda x: (run(x)[0] * weight).sum(), back, x)
    assert found.ok, f"\n{found}"
