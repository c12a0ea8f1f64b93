"""The formulas of notebook 04, proved: sympy finds the difference of both sides to be 0."""

import pytest
import sympy as sp

z, y, p, r = sp.symbols("z y p r", real=True)
SIGMA = 1 / (1 + sp.exp(-z))
BCE = -(y * sp.log(p) + (1 - y) * sp.log(1 - p))
LIKELIHOOD = p**y * (1 - p) ** (1 - y)


def sigma(x):
    return 1 / (1 + sp.exp(-x))


def zero(expression) -> bool:
    return sp.simplify(sp.expand_log(expression, force=True)) == 0


def test_the_loss_is_the_negative_log_likelihood():
    assert zero(BCE + sp.log(LIKELIHOOD))


@pytest.mark.parametrize(
    ("found", "stated"),
    [
        (sp.diff(BCE, p), (p - y) / (p * (1 - p))),
        (sp.diff(SIGMA, z), SIGMA * (1 - SIGMA)),
        (sp.diff(BCE.subs(p, SIGMA), z), SIGMA - y),
        (sp.diff(BCE.subs(p, SIGMA), z, 2), SIGMA * (1 - SIGMA)),
        (sp.diff(BCE, p).subs(p, SIGMA) * sp.diff(SIGMA, z), SIGMA - y),
        (sp.log(p / (1 - p)).subs(p, SIGMA), z),
    ],
    ids=["dl/dp", "dp/dz", "dl/dz", "second derivative", "chain", "log-odds"],
)
def test_the_chain(found, stated):
    assert zero(found - stated)


@pytest.mark.parametrize("wrong", [y - SIGMA, (SIGMA - y) / (SIGMA * (1 - SIGMA)), SIGMA * (1 - SIGMA), SIGMA + y])
def test_a_wrong_step_is_no_identity(wrong):
    assert not zero(sp.diff(BCE.subs(p, SIGMA), z) - wrong)


def test_the_derivative_that_the_article_prints_is_one_in_the_other_variable():
    printed = -y / p + (1 - y) / (1 - p)
    assert zero(sp.diff(BCE, p) - printed) and zero(sp.diff(BCE, y) - sp.log((1 - p) / p))
    assert not zero(sp.diff(BCE, y) - printed)
    factor = printed.subs({p: SIGMA, y: 0, z: 8})
    assert float(factor) == pytest.approx(2981.96, abs=0.01) and float(SIGMA.subs(z, 8)) == pytest.approx(
        0.99966, abs=1e-5
    )


@pytest.mark.parametrize("sign", ["positive", "negative"])
def test_the_stable_form(sign):
    x = sp.Symbol("x", **{sign: True})
    stable = sp.Max(x, 0) - y * x + sp.log(1 + sp.exp(-sp.Abs(x)))
    assert zero(sp.logcombine(stable.diff(x) - (sigma(x) - y), force=True))
    assert zero(stable.diff(y) - BCE.subs(p, sigma(x)).diff(y))
    assert abs(float((stable - BCE.subs(p, sigma(x))).subs({x: 1 if sign == "positive" else -1, y: 0}))) < 1e-12


def test_mean_and_weight_decay():
    w, decay = sp.symbols("w lambda")
    xs, ys = sp.symbols("x:3"), sp.symbols("y:3")
    risk = sum(BCE.subs({p: sigma(w * x), y: label}) for x, label in zip(xs, ys, strict=True)) / 3 + decay * w**2 / 2
    stated = sum((sigma(w * x) - label) * x for x, label in zip(xs, ys, strict=True)) / 3 + decay * w
    assert zero(sp.diff(risk, w) - stated)


def test_softmax():
    zs = sp.symbols("z:3")
    loss = sp.log(sum(map(sp.exp, zs))) - zs[1]
    shares = [sp.exp(one) / sum(map(sp.exp, zs)) for one in zs]
    assert all(
        zero(sp.diff(loss, one) - (share - int(k == 1))) for k, (one, share) in enumerate(zip(zs, shares, strict=True))
    )


def test_softmax_of_two_is_the_sigmoid_of_the_difference():
    a, b = sp.symbols("a b")
    assert zero(sp.exp(b) / (sp.exp(a) + sp.exp(b)) - sigma(b - a))


def test_log_q():
    zs, qs = sp.symbols("z:3"), sp.symbols("q:3", positive=True)
    loss = sp.log(sum(sp.exp(one) / q for one, q in zip(zs, qs, strict=True))) - zs[0] + sp.log(qs[0])
    corrected = [one - sp.log(q) for one, q in zip(zs, qs, strict=True)]
    total = sum(map(sp.exp, corrected))
    assert all(zero(sp.diff(loss, zs[k]) - (sp.exp(corrected[k]) / total - int(k == 0))) for k in range(3))


def test_bpr_and_the_two_signs_that_are_printed_wrong():
    theta, decay = sp.symbols("theta lambda")
    x = sp.Function("x")(theta)
    gain = sp.log(sigma(x)) - decay * theta**2  # maximised
    right = sigma(-x) * x.diff(theta) - 2 * decay * theta
    assert zero(sp.diff(gain, theta) - right)
    share = sp.exp(-x) / (1 + sp.exp(-x))
    assert zero(share - sigma(-x))
    printed = -share * x.diff(theta) - decay * theta  # the gradient there
    update = share * x.diff(theta) + decay * theta  # what its update adds
    assert not zero(sp.diff(gain, theta) - printed) and not zero(sp.diff(gain, theta) - update)
    assert zero((right - printed).coeff(decay, 0) - 2 * share * x.diff(theta)), "the sign of the first part is turned"


def test_ordinal():
    a, b = sp.symbols("a b")
    chance = sigma(a - z) - sigma(b - z)
    assert zero(sp.diff(-sp.log(chance), z) - (sigma(z - a) - sigma(b - z)))
    assert zero(chance - sigma(a - z) * sigma(z - b) * (1 - sp.exp(b - a)))


def test_negatives_kept_at_a_rate_shift_the_log_odds():
    rate = sp.Symbol("r", positive=True)
    kept = p / (p + rate * (1 - p))
    assert zero(kept / (1 - kept) - p / (1 - p) / rate)
    shift = sp.log(kept / (1 - kept)) - sp.log(p / (1 - p))
    assert all(abs(float((shift + sp.log(rate)).subs({p: 0.3, rate: value}))) < 1e-12 for value in (0.1, 0.5, 1.0))
    assert zero(1 / (1 + (1 - kept) / kept / rate) - p), "so z + log r is the way back"
