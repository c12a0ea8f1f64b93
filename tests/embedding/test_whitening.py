import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

import klm_utils as klm
from klm_utils.embedding.whitening import fit_whitening


@pytest.fixture(scope="module")
def cone():
    """Vectors as language models make them: a large common part, few strong directions."""
    rng = np.random.default_rng(0)
    return (rng.normal(size=(400, 12)) * np.geomspace(3, 0.05, 12)) @ np.linalg.qr(rng.normal(size=(12, 12)))[0] + 5


def cosines(x):
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    return (x @ x.T)[np.triu_indices(len(x), 1)]


@pytest.mark.parametrize("kind", ["pca", "zca"])
def test_full_whitening_gives_the_identity_as_covariance(cone, kind):
    white = fit_whitening(cone, kind)(cone, normalize=False).astype(float)
    assert np.allclose(white.mean(0), 0, atol=1e-5)
    assert np.allclose(np.cov(white.T), np.eye(12), atol=1e-4)


def test_pca_is_that_of_scikit_learn_but_for_signs(cone):
    ours = fit_whitening(cone, "pca", width=5)(cone, normalize=False)
    theirs = PCA(5, whiten=True).fit_transform(cone)
    assert np.allclose(np.abs(ours), np.abs(theirs), atol=1e-4)


def test_zca_stays_nearest_to_the_vectors_it_came_from(cone):
    """Of all whitenings ZCA changes the centred vectors least (Kessy et al. 2018, section 3)."""
    centred = cone - cone.mean(0)
    distance = {k: ((fit_whitening(cone, k)(cone, normalize=False) - centred) ** 2).sum() for k in ("pca", "zca")}
    assert distance["zca"] < distance["pca"]


def test_centring_opens_the_cone(cone):
    assert cosines(cone).mean() > 0.8
    assert abs(cosines(fit_whitening(cone, "center")(cone)).mean()) < 0.02


@pytest.mark.parametrize("strength", [0.0, 0.3, 0.7, 1.0])
def test_strength_evens_out_the_spread_by_degrees(cone, strength):
    spread = np.linalg.svd(cone - cone.mean(0), compute_uv=False)
    relaxed = np.linalg.svd(fit_whitening(cone, "zca", strength)(cone, normalize=False), compute_uv=False)
    assert np.allclose(relaxed[0] / relaxed[-1], (spread[0] / spread[-1]) ** (1 - strength), rtol=1e-3)


@given(st.integers(2, 15), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_with_fewer_texts_than_dimensions_all_become_equally_far(n, seed):
    """What goes wrong when one whitens fifteen tags: every pair has cosine -1 / (n - 1), whatever the tags mean."""
    vectors = np.random.default_rng(seed).normal(size=(n, 40)) + 3
    found = fit_whitening(vectors)
    assert found.rank == n - 1
    assert np.allclose(cosines(found(vectors).astype(float)), -1 / (n - 1), atol=1e-5)


def test_new_vectors_use_what_was_learned_on_others(cone):
    found = fit_whitening(cone[:300])
    assert np.allclose(found(cone)[300:], found(cone[300:]))
    assert found(cone[:0]).shape == (0, 12) and found(cone).dtype == np.float32
    assert np.allclose(np.linalg.norm(found(cone), axis=1), 1, atol=1e-5)


def test_constant_vectors_become_zero_not_nan():
    assert (fit_whitening(np.ones((5, 4)))(np.ones((3, 4))) == 0).all()


@pytest.mark.parametrize(
    ("vectors", "options", "message"),
    [
        (np.ones((1, 4)), {}, "one vector has no spread"),
        (np.ones(4), {}, "not a table of vectors"),
        (np.array([[1.0, np.nan], [0, 1]]), {}, "not a table of vectors"),
        (np.eye(4), {"kind": "ica"}, "kind"),
        (np.eye(4) * 1j, {}, "not a table of vectors"),
        (np.ma.masked_equal(np.eye(4), 1), {}, "not a table of vectors"),
        ([["a", "b"]], {}, "not a table of vectors"),
        ([[1], [1, 2]], {}, "not a table of vectors"),
        (None, {}, "not a table of vectors"),
        (np.eye(4), {"strength": 1.5}, "strength"),
        (np.eye(4), {"strength": "full"}, "strength"),
        (np.eye(4), {"strength": None}, "strength"),
        (np.eye(4), {"kind": "pca", "width": "2"}, "width"),
        (np.eye(4), {"kind": "pca", "width": True}, "width"),
        (np.eye(4), {"kind": "pca", "width": 2.5}, "width"),
        (np.eye(4), {"width": 2}, "no such width"),
        (np.eye(4), {"kind": "pca", "width": 4}, "no such width"),
    ],
)
def test_what_cannot_be_whitened_is_refused(vectors, options, message):
    with pytest.raises(klm.KLMError, match=message):
        fit_whitening(vectors, **options)


def test_vectors_of_another_width_are_refused(cone):
    with pytest.raises(klm.DataError, match="not a table of vectors"):
        fit_whitening(cone)(cone[:, :5])
    with pytest.raises(klm.ConfigError, match="normalize"):
        fit_whitening(cone)(cone, normalize="no")
