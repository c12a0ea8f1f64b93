"""Each of the six layers: gradients, sets without order, padding without influence, every input felt."""

import inspect
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from klm_utils.fusion import LAYERS, Inputs

WIDTH, ROWS, TAGS, PAST = 4, 5, 3, 6
PARAMETERS = {
    "concat": (5 * WIDTH + 1) * 32 + 33,
    "hadamard": WIDTH,
    "gate": (3 * WIDTH + 1) * WIDTH,
    "tags": 2 * WIDTH**2,
    "residual": (WIDTH + 1) * 32 + 33 * WIDTH,
    "target": (3 * WIDTH + 1) * 32 + 33,
}


def inputs(rows=ROWS, seed=0) -> Inputs:
    """Random vectors; what the masks hide is huge, so that any use of it shows. Row 0 has neither tags nor history."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    tag_mask, past_mask = torch.ones(rows, TAGS), torch.ones(rows, PAST)
    tag_mask[0], past_mask[0] = 0, 0
    tag_mask[1:, -1], past_mask[1:, 4:] = 0, 0
    tags = normal(rows, TAGS, WIDTH).masked_fill(tag_mask[..., None] == 0, 1e9)
    past = normal(rows, PAST, WIDTH).masked_fill(past_mask[..., None] == 0, 1e9)
    user, item, text = (normal(rows, WIDTH) for _ in range(3))
    return Inputs(user, item, text, tags, tag_mask, past, past_mask)


@pytest.fixture(params=LAYERS)
def layer(request):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        made = LAYERS[request.param](WIDTH).double()
    made.name = request.param
    return made


def test_parameters_are_as_many_as_the_docstring_says(layer):
    assert sum(p.numel() for p in layer.parameters()) == PARAMETERS[layer.name]


def test_a_layer_fits_on_a_page_and_says_where_it_comes_from(layer):
    assert len(inspect.getsource(type(layer)).splitlines()) < 40
    assert "Parameters: " in type(layer).__doc__ and "Source: " in type(layer).__doc__


def by_hand(name, layer, x, i):
    """The formula of the docstring for one row, set by set, in numpy."""
    p = {key: value.detach().numpy() for key, value in layer.named_parameters()}
    user, item, text = (getattr(x, key)[i].numpy() for key in ("user", "item", "text"))
    tags = [v.numpy() for v, there in zip(x.tags[i], x.tag_mask[i], strict=True) if there]
    past = [v.numpy() for v, there in zip(x.past[i], x.past_mask[i], strict=True) if there]
    zero = np.zeros(WIDTH)
    tag, person = sum(tags, zero) / max(len(tags), 1), user + sum(past, zero) / max(len(past), 1)

    def mlp(prefix, vector):
        first = p[f"{prefix}.0.weight"] @ vector + p[f"{prefix}.0.bias"]
        return p[f"{prefix}.2.weight"] @ np.maximum(first, 0) + p[f"{prefix}.2.bias"]

    if name == "concat":
        return mlp("mlp", np.concatenate([user, person - user, item, text, tag]))[0]
    if name == "hadamard":
        return p["weight"] @ (person * (item + text + tag))
    if name == "gate":
        g = 1 / (1 + np.exp(-(p["gate.weight"] @ np.concatenate([item, text, tag]) + p["gate.bias"])))
        return person @ (g * item + (1 - g) * (text + tag))
    if name == "tags":
        fit = [(p["query.weight"] @ person) @ (p["key.weight"] @ t) / WIDTH**0.5 for t in tags]
        weight = np.exp(fit) / np.exp(fit).sum()
        return person @ (item + text + sum((w * t for w, t in zip(weight, tags, strict=True)), zero))
    if name == "residual":
        return person @ (text + tag + mlp("map", text + tag) + item)
    thing, attended = item + text + tag, zero
    for j in past:
        hidden = p["past.weight"] @ j + p["thing.weight"] @ thing + p["thing.bias"] + p["both.weight"] @ (j * thing)
        attended = attended + (p["out.weight"] @ np.maximum(hidden, 0) + p["out.bias"]) * j
    return (user + attended) @ thing


def test_a_layer_is_its_formula(layer):
    x = inputs()
    with torch.no_grad():
        for parameter in layer.parameters():  # large enough that each part matters
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    want = [by_hand(layer.name, layer, x, i) for i in range(ROWS)]
    np.testing.assert_allclose(layer(x).detach().numpy(), want, rtol=1e-9)


def test_one_finite_score_per_pair_whatever_is_hidden_or_missing(layer):
    score = layer(inputs())
    assert score.shape == (ROWS,) and score.isfinite().all()


def test_the_gradient_is_right(layer):
    x = inputs()
    clean = {f.name: getattr(x, f.name).clamp_max(10) for f in fields(x)}  # differences of huge numbers are inexact
    vectors = [name for name in clean if "mask" not in name]

    def score(*tensors):
        return layer(Inputs(**clean | dict(zip(vectors, tensors, strict=True))))

    assert torch.autograd.gradcheck(score, [clean[name].clone().requires_grad_() for name in vectors])


def test_no_nan_reaches_a_parameter(layer):
    layer(inputs()).sum().backward()
    assert all(p.grad.isfinite().all() for p in layer.parameters())


@pytest.mark.parametrize("group", ["tag", "past"])
def test_a_set_has_no_order(layer, group):
    x = inputs()
    names = {"tag": ("tags", "tag_mask"), "past": ("past", "past_mask")}[group]
    order = torch.randperm(getattr(x, names[0]).shape[1], generator=torch.Generator().manual_seed(2))
    turned = replace(x, **{name: getattr(x, name)[:, order] for name in names})
    assert torch.allclose(layer(turned), layer(x))


@pytest.mark.parametrize("group", ["tag", "past"])
def test_padding_has_no_influence(layer, group):
    x = inputs()
    names = {"tag": ("tags", "tag_mask"), "past": ("past", "past_mask")}[group]
    vectors, mask = (getattr(x, name) for name in names)
    longer = torch.cat([vectors, torch.full_like(vectors, 1e6)], 1), torch.cat([mask, torch.zeros_like(mask)], 1)
    assert torch.allclose(layer(replace(x, **dict(zip(names, longer, strict=True)))), layer(x))


def test_a_batch_of_one_is_a_row_of_the_batch(layer):
    x = inputs()
    alone = [layer(Inputs(**{f.name: getattr(x, f.name)[i : i + 1] for f in fields(x)})) for i in range(ROWS)]
    assert torch.allclose(torch.cat(alone), layer(x))


@pytest.mark.parametrize("name", ["user", "item", "text", "tags", "past"])
def test_every_input_moves_the_score(layer, name):
    x = inputs()
    moved = (layer(replace(x, **{name: getattr(x, name) + 1})) - layer(x)).abs()
    assert (moved[1:] > 1e-6).all()
    if name in ("tags", "past"):
        assert moved[0] == 0, "row 0 has none"


def test_every_user_has_an_order_of_his_own(layer):
    """What two linear maps in a row cannot do: the difference of two users' scores depends on the item."""
    x = inputs(rows=6)
    alike = {f.name: getattr(x, f.name)[1:2].expand(6, *getattr(x, f.name).shape[1:]) for f in fields(x)}
    items = {name: getattr(x, name) for name in ("item", "text")}
    one, other = (layer(Inputs(**alike | items | {"user": x.user[i : i + 1].expand(6, -1)})) for i in (2, 3))
    assert (one - other).std() > 1e-3
