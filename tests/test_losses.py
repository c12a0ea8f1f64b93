"""Each loss against torch's or scikit-learn's own, each hand-written gradient against autograd and differences."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import log_loss
from torch.nn import functional as F

from klm_utils import losses
from klm_utils.errors import ConfigError
from klm_utils.gradients import compare

REDUCTIONS = ("mean", "sum", "none")


def normal(*shape, seed=0, scale=3.0):
    """float64, far enough from 0 that no gradient is flat."""
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def whole(n, below, seed=1):
    return torch.randint(below, (n,), generator=torch.Generator().manual_seed(seed))


THRESHOLDS = torch.tensor([-2.0, -0.5, 0.1, 3.0], dtype=torch.float64)


def naive_ordinal(z, y, thresholds):
    below = torch.sigmoid(thresholds[None, :] - z[:, None])
    ends = torch.zeros(len(z), 1, dtype=z.dtype)
    return -torch.log(torch.cat([below, ends + 1], 1) - torch.cat([ends, below], 1)).gather(1, y[:, None])[:, 0]


def masked_cross_entropy(z, log_q, hits=None, y=None):
    z = z - log_q if hits is None else (z - log_q).masked_fill(hits, -torch.inf)
    return F.cross_entropy(z, torch.zeros(len(z), dtype=torch.long) if y is None else y, reduction="none")


def same_items(items):
    return (items[:, None] == items) & ~torch.eye(len(items), dtype=torch.bool)


def made(name, n, seed=0):
    """(loss, gradient, reference without reduction, arguments, keywords) of n rows."""
    z, y = normal(n, seed=seed), whole(n, 5, seed + 1)
    hits = torch.zeros(n, 5, dtype=torch.bool)
    hits[::2, 3] = True
    log_q = normal(n, 5, seed=seed + 2, scale=1.0)
    return {
        "bce": (z, (y > 2).double(), F.binary_cross_entropy_with_logits),
        "bce, targets between": (z, torch.rand(n, dtype=torch.float64), F.binary_cross_entropy_with_logits),
        "squared_error": (z, normal(n, seed=seed + 3), F.mse_loss),
        "ordinal": (z, y, THRESHOLDS, naive_ordinal),
        "bpr": (z, normal(n, seed=seed + 3), lambda a, b, **_: -torch.log(torch.sigmoid(a - b))),
        "cross_entropy": (normal(n, 5, seed=seed), y, F.cross_entropy),
        "sampled_softmax": (normal(n, 5, seed=seed), log_q, {"hits": hits}, masked_cross_entropy),
        "info_nce": (normal(n, n, seed=seed), normal(n, seed=seed, scale=1.0), {"items": y}, None),
    }[name]


FUNCTIONS = {
    "bce": "bce_with_logits",
    "bce, targets between": "bce_with_logits",
    "squared_error": "squared_error",
    "ordinal": "ordinal",
    "bpr": "bpr",
    "cross_entropy": "cross_entropy",
    "sampled_softmax": "sampled_softmax",
    "info_nce": "info_nce",
}


def case(name, n=6, seed=0):
    """(loss, gradient, values of the reference, arguments, keywords)."""
    *args, reference = made(name, n, seed)
    options = args.pop() if isinstance(args[-1], dict) else {}
    if name == "info_nce":
        z, log_q = args
        values = masked_cross_entropy(z, log_q, same_items(options["items"]), torch.arange(n))
    else:
        kept = {} if name in ("ordinal", "sampled_softmax") else {"reduction": "none"}
        values = reference(*args, **options, **kept)
    loss, grad = (getattr(losses, FUNCTIONS[name] + end) for end in ("", "_grad"))
    return loss, grad, values, args, options


@pytest.fixture(params=FUNCTIONS)
def one(request):
    return case(request.param)


# value


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_value_is_that_of_the_reference(one, reduction):
    loss, _, values, args, options = one
    want = {"mean": values.mean(), "sum": values.sum(), "none": values}[reduction]
    torch.testing.assert_close(loss(*args, reduction=reduction, **options), want, rtol=1e-12, atol=1e-12)


def test_mean_is_the_default(one):
    loss, grad, _, args, options = one
    assert loss(*args, **options) == loss(*args, reduction="mean", **options) != loss(*args, reduction="sum", **options)
    assert torch.equal(grad(*args, **options), grad(*args, reduction="mean", **options))


def test_the_value_of_bce_is_that_of_scikit_learn():
    loss, _, _, (z, y), _ = case("bce", 40)
    assert loss(z, y).item() == pytest.approx(log_loss(y.numpy(), expit(z.numpy())), rel=1e-12)


def test_a_matrix_of_labels_is_the_multi_label_loss():
    z, y = normal(7, 4), (normal(7, 4, seed=1) > 0).double()
    torch.testing.assert_close(losses.bce_with_logits(z, y), F.multilabel_soft_margin_loss(z, y), rtol=1e-12, atol=0)


def test_two_grades_are_a_label():
    z, y = normal(9), whole(9, 2)
    threshold = torch.tensor([0.7], dtype=torch.float64)
    want = losses.bce_with_logits(z - 0.7, y.double(), "none")
    torch.testing.assert_close(losses.ordinal(z, y, threshold, "none"), want, rtol=1e-12, atol=1e-12)


def test_two_classes_are_a_label_with_the_difference_of_the_logits():
    z, y = normal(9, 2), whole(9, 2)
    want = losses.bce_with_logits(z[:, 1] - z[:, 0], y.double(), "none")
    torch.testing.assert_close(losses.cross_entropy(z, y, "none"), want, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(losses.bce_with_logits(z[:, 1], y.double(), "none"), want)


# gradient


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
def test_gradient_is_that_of_differences_and_of_autograd(one, reduction, weighted):
    loss, grad, values, args, options = one
    weight = torch.linspace(0, 2, len(values), dtype=torch.float64) if weighted else None
    given = {"reduction": reduction, "weight": weight} | options
    z, rest = args[0], args[1:]
    found = compare(lambda z: loss(z, *rest, **given).sum(), lambda z: grad(z, *rest, **given), z)
    assert found.ok, f"\n{found}"
    z = z.clone().requires_grad_()
    loss(z, *rest, **given).sum().backward()
    torch.testing.assert_close(grad(args[0], *rest, **given), z.grad, rtol=0, atol=1e-10)


@settings(max_examples=30, deadline=None)
@given(name=st.sampled_from(sorted(FUNCTIONS)), n=st.integers(1, 9), seed=st.integers(0, 99))
def test_any_number_of_rows(name, n, seed):
    loss, grad, values, args, options = case(name, max(n, 2) if name == "info_nce" else n, seed)
    torch.testing.assert_close(loss(*args, reduction="none", **options), values, rtol=1e-9, atol=1e-9)
    z = args[0].clone().requires_grad_()
    loss(z, *args[1:], **options).backward()
    torch.testing.assert_close(grad(*args, **options), z.grad, rtol=0, atol=1e-10)


@settings(max_examples=30, deadline=None)
@given(shape=st.lists(st.integers(1, 4), max_size=3), name=st.sampled_from(["bce_with_logits", "squared_error", "bpr"]))
def test_any_shape(shape, name):
    z, y = normal(*shape), torch.sigmoid(normal(*shape, seed=1))
    loss, grad = (getattr(losses, name + end) for end in ("", "_grad"))
    assert loss(z, y, "none").shape == grad(z, y).shape == z.shape and loss(z, y).shape == ()
    z.requires_grad_()
    loss(z, y).backward()
    torch.testing.assert_close(grad(z.detach(), y), z.grad, rtol=0, atol=1e-10)


def test_the_gradient_in_the_other_item_of_a_pair_has_the_other_sign():
    a, b = normal(6), normal(6, seed=1)
    assert compare(lambda b: losses.bpr(a, b), lambda b: -losses.bpr_grad(a, b), b).ok
    assert not compare(lambda b: losses.bpr(a, b), lambda b: losses.bpr_grad(a, b), b).ok


# weights and masks


def test_a_weight_of_zero_leaves_a_row_out(one):
    loss, grad, values, args, options = one
    mask = torch.ones(len(values), dtype=torch.float64)
    mask[[1, 4]] = 0
    keep = mask.bool()
    torch.testing.assert_close(loss(*args, weight=mask, **options), values[keep].mean(), rtol=1e-12, atol=1e-12)
    assert grad(*args, weight=mask, **options)[~keep].eq(0).all()
    torch.testing.assert_close(loss(*args, weight=torch.ones_like(mask), **options), values.mean())


def test_a_weight_of_two_is_a_row_twice():
    z, y = normal(3), torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    twice = torch.tensor([0, 1, 1, 2])
    weight = torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(losses.bce_with_logits(z, y, weight=weight), losses.bce_with_logits(z[twice], y[twice]))


def test_what_is_masked_has_no_influence():
    z, hits = normal(4, 5), torch.zeros(4, 5, dtype=torch.bool)
    hits[:, 2] = True
    other = z.clone()
    other[:, 2] = 1e4
    for f in (losses.sampled_softmax, losses.sampled_softmax_grad):
        torch.testing.assert_close(f(z, hits=hits), f(other, hits=hits), rtol=0, atol=0)
        want = f(torch.cat([z[:, :2], z[:, 3:]], 1))
        torch.testing.assert_close(f(z, hits=hits) if want.ndim == 0 else f(z, hits=hits)[:, [0, 1, 3, 4]], want)
    wrong = losses.sampled_softmax(z.masked_fill(hits, 0))
    assert wrong > losses.sampled_softmax(z, hits=hits), "a score of 0 is a candidate like others"


def test_the_same_item_in_the_batch_is_no_negative():
    z, items = normal(3, 3), torch.tensor([7, 8, 7])
    grad = losses.info_nce_grad(z, items=items)
    assert grad[0, 2] == grad[2, 0] == 0 and losses.info_nce_grad(z)[0, 2] > 0


# the log-q correction


def test_with_the_correction_a_large_sample_gives_the_gradient_of_the_softmax_over_all():
    draw = torch.Generator().manual_seed(0)
    scores, q = normal(6, scale=1.0), torch.tensor([0.4, 0.3, 0.15, 0.1, 0.04, 0.01], dtype=torch.float64)
    others = q.multinomial(200_000, replacement=True, generator=draw)
    of = torch.cat([torch.tensor([2]), others])

    def gradient(log_q):
        grad = losses.sampled_softmax_grad(scores[of][None, :], log_q)[0]
        return torch.zeros(6, dtype=torch.float64).index_add(0, of, grad)

    want = losses.cross_entropy_grad(scores[None, :], torch.tensor([2]))[0]
    torch.testing.assert_close(gradient(q.log()[of]), want, rtol=0.02, atol=0.002)
    assert (gradient(0.0) - want).abs().max() > 0.1, "uncorrected, what is drawn often is pushed down"


def test_only_differences_of_log_q_count():
    z, log_q = normal(4, 5), normal(4, 5, seed=1)
    torch.testing.assert_close(losses.sampled_softmax(z, log_q), losses.sampled_softmax(z, log_q + 3.0))
    torch.testing.assert_close(losses.sampled_softmax(z), losses.cross_entropy(z, torch.zeros(4, dtype=torch.long)))


# the ends


@pytest.mark.parametrize("size", [1e4, -1e4])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_finite_far_out_in_float32(name, size):
    loss, grad, _, args, options = case(name)
    z = torch.full_like(args[0], size) if args[0].ndim == 1 else args[0] * size
    args = [a.float() if a.is_floating_point() else a for a in (z, *args[1:])]
    z = args[0].requires_grad_()
    value = loss(*args, **options)
    value.backward()
    assert value.isfinite() and z.grad.isfinite().all() and grad(*args, **options).isfinite().all()
    torch.testing.assert_close(grad(z.detach(), *args[1:], **options), z.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("y", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("z", [-1e4, -30.0, 0.0, 30.0, 1e4])
def test_autograd_agrees_where_max_and_abs_have_a_corner(z, y):
    """A score is exactly 0 when the weights start at 0: there max(z, 0) - y z + log1p(exp(-|z|)) has 1 - y."""
    z, y = torch.tensor([z], dtype=torch.float64, requires_grad=True), torch.tensor([y], dtype=torch.float64)
    losses.bce_with_logits(z, y).backward()
    torch.testing.assert_close(z.grad, losses.bce_with_logits_grad(z.detach(), y), rtol=0, atol=1e-10)


def test_the_corner_is_real():
    z = torch.zeros(1, requires_grad=True)
    (z.clamp_min(0) - z + torch.log1p(torch.exp(-z.abs()))).sum().backward()
    assert z.grad.item() == 0, "y = 1: the true gradient is -1/2"


def test_the_naive_forms_overflow_and_ours_do_not():
    z, y = torch.tensor([1e4, 1e4, -1e4, -1e4]), torch.tensor([1.0, 0.0, 1.0, 0.0])
    p = torch.sigmoid(z)
    assert losses.bce_with_logits(z, y, "none").tolist() == [0, 1e4, 1e4, 0]
    assert not (-(y * p.log() + (1 - y) * (1 - p).log())).isfinite().any(), "the naive form should fail here"
    far = torch.tensor([-200.0])
    assert losses.bpr(far, -far).item() == 400 and (-torch.log(torch.sigmoid(2 * far))).isinf().all()
    grade, edges = torch.tensor([1]), torch.tensor([-1.0, 1.0])
    assert losses.ordinal(torch.tensor([-80.0]), grade, edges).item() == pytest.approx(79.1454, abs=1e-3)
    assert naive_ordinal(torch.tensor([-80.0]), grade, edges).isinf().all(), "1 minus 1"


# refusals


@pytest.mark.parametrize("reduction", ["average", None, "Mean", 1])
def test_unknown_reduction(one, reduction):
    loss, grad, _, args, options = one
    for function in (loss, grad):
        with pytest.raises(ConfigError, match="reduction") as caught:
            function(*args, reduction=reduction, **options)
        assert caught.value.found == reduction and "'none'" in caught.value.expected


@pytest.mark.parametrize("weight", [[1.0, 1.0], [-1.0] + [1.0] * 5, [0.0] * 6], ids=["shape", "negative", "nothing"])
def test_weights_that_fit_nothing(one, weight):
    loss, grad, _, args, options = one
    for function in (loss, grad):
        with pytest.raises(ConfigError, match="weight"):
            function(*args, weight=torch.tensor(weight, dtype=torch.float64), **options)


def test_nothing_at_all_sums_to_zero(one):
    loss, grad, _, args, options = one
    none = torch.zeros(6, dtype=torch.float64)
    assert loss(*args, reduction="sum", weight=none, **options) == 0
    assert grad(*args, reduction="sum", weight=none, **options).eq(0).all()


@pytest.mark.parametrize(
    ("name", "args", "where"),
    [
        ("bce_with_logits", (torch.zeros(3, 1), torch.zeros(3)), "z, y"),
        ("bce_with_logits", (torch.zeros(3), torch.tensor([0.0, 5.0, 1.0])), "y"),
        ("bce_with_logits", (torch.zeros(1), torch.tensor([float("nan")])), "y"),
        ("squared_error", (torch.zeros(3, 1), torch.zeros(3)), "z, y"),
        ("ordinal", (torch.zeros(3), torch.zeros(2).long(), THRESHOLDS), "z, y, thresholds"),
        ("ordinal", (torch.zeros(1), torch.tensor([5]), THRESHOLDS), "y"),
        ("ordinal", (torch.zeros(1), torch.tensor([1.0]), THRESHOLDS), "y"),
        ("ordinal", (torch.zeros(1), torch.tensor([0]), THRESHOLDS.flip(0)), "thresholds"),
        ("bpr", (torch.zeros(3, 1), torch.zeros(3)), "positive, negative"),
        ("cross_entropy", (torch.zeros(3, 2), torch.zeros(3, 2)), "z, y"),
        ("cross_entropy", (torch.zeros(1, 2), torch.tensor([2])), "y"),
        ("cross_entropy", (torch.zeros(1, 2), torch.tensor([-1])), "y"),
        ("sampled_softmax", (torch.zeros(3, 1),), "z, hits"),
        ("sampled_softmax", (torch.zeros(3),), "z, hits"),
        ("info_nce", (torch.zeros(3, 2),), "z, items"),
        ("info_nce", (torch.zeros(1, 1),), "z, items"),
        ("bce_with_logits", (torch.zeros(1), torch.tensor([True])), "y"),
        ("bce_with_logits", (torch.zeros(1), torch.tensor([-0.1])), "y"),
        ("ordinal", (torch.zeros(1), torch.tensor([True]), THRESHOLDS), "y"),
    ],
)
def test_arguments_that_fit_no_loss(name, args, where):
    for end in ("", "_grad"):
        with pytest.raises(ConfigError) as caught:
            getattr(losses, name + end)(*args)
        assert caught.value.where == where and caught.value.remedy


@pytest.mark.parametrize("log_q", [torch.zeros(3, 2, 2), torch.zeros(5, 2), torch.zeros(3)])
def test_log_q_makes_no_more_of_the_scores_than_there_are(log_q):
    for f in (losses.sampled_softmax, losses.sampled_softmax_grad, losses.info_nce, losses.info_nce_grad):
        with pytest.raises(RuntimeError, match="expand"):
            f(torch.zeros(2, 2), log_q)


def test_small_whole_numbers_are_classes_too():
    z, y = normal(4, 5), torch.tensor([0, 1, 4, 1])
    for kind in (torch.uint8, torch.int32):
        assert torch.equal(losses.cross_entropy(z, y.to(kind)), losses.cross_entropy(z, y))
        assert torch.equal(losses.cross_entropy_grad(z, y.to(kind)), losses.cross_entropy_grad(z, y))
        assert torch.equal(losses.ordinal(z[:, 0], y.to(kind), THRESHOLDS), losses.ordinal(z[:, 0], y, THRESHOLDS))


def test_a_whole_number_weighs_as_its_float():
    z = normal(3)
    found = losses.squared_error(z, 0 * z, weight=torch.ones(3, dtype=torch.long))
    torch.testing.assert_close(found, losses.squared_error(z, 0 * z), rtol=1e-14, atol=0)


def test_the_gradient_in_the_thresholds_and_a_narrow_grade():
    z, y = normal(6), torch.tensor([0, 1, 2, 3, 4, 1])
    assert compare(lambda t: losses.ordinal(z, y, t), {}, THRESHOLDS).ok
    t = THRESHOLDS.clone().requires_grad_()
    losses.ordinal(z, y, t).backward()
    s = THRESHOLDS.clone().requires_grad_()
    naive_ordinal(z, y, s).mean().backward()
    torch.testing.assert_close(t.grad, s.grad, rtol=0, atol=1e-10)
    narrow = losses.ordinal(torch.zeros(1), torch.tensor([1]), torch.tensor([0.0, 1e-8]))
    assert narrow.item() == pytest.approx(-np.log(1e-8 / 4), rel=1e-5)


def test_the_chosen_item_is_no_hit():
    with pytest.raises(ConfigError, match="never a hit"):
        losses.sampled_softmax(torch.zeros(2, 3), hits=torch.ones(2, 3, dtype=torch.bool))


def test_losses_of_float32_stay_float32(one):
    loss, grad, _, args, options = one
    args = [a.float() if a.is_floating_point() else a for a in args]
    assert loss(*args, **options).dtype == grad(*args, **options).dtype == torch.float32
    assert np.isfinite(loss(*args, **options).item())
