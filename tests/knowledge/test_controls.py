import numpy as np
import pytest

import klm_utils as klm
from klm_utils.knowledge.controls import KINDS, knowledge

RNG = np.random.default_rng(0)
X = (RNG.normal(size=(4000, 6)) @ RNG.normal(size=(6, 6)) + 3).astype("float32")


def rows(table):
    return sorted(map(tuple, table.tolist()))


@pytest.mark.parametrize("kind", KINDS)
def test_shape_type_seed_and_no_shared_memory(kind):
    before = X.copy()
    one = knowledge(X, kind, seed=1)
    assert one.shape == X.shape and one.dtype == np.float32 and np.array_equal(one, knowledge(X, kind, seed=1))
    one[:] = 0
    assert np.array_equal(X, before)
    if kind in ("shuffled", "random"):
        assert not np.array_equal(knowledge(X, kind, seed=1), knowledge(X, kind, seed=2))


def test_true_and_absent():
    assert np.array_equal(knowledge(X, "true"), X)
    assert not knowledge(X, "absent").any()


@pytest.mark.parametrize("n", [2, 3, 4, 5, 100])
def test_shuffled_has_the_same_rows_and_none_at_its_own_item(n):
    for seed in range(20):
        shuffled = knowledge(X[:n], "shuffled", seed)
        assert rows(shuffled) == rows(X[:n])
        assert (shuffled != X[:n]).any(axis=1).all()


def test_one_item_has_no_other_whose_row_it_could_take():
    """Its own row would be called shuffled."""
    with pytest.raises(klm.DataError, match="cannot be shuffled"):
        knowledge(X[:1], "shuffled")
    np.testing.assert_allclose(knowledge(X[:1], "random"), X[:1], rtol=1e-6)  # no spread to draw from


@pytest.mark.parametrize("seed", [None, -1, 1.5, "0"])
def test_a_seed_that_is_none(seed):
    with pytest.raises(klm.ConfigError, match="seed"):
        knowledge(X, "shuffled", seed)


def test_random_keeps_mean_and_covariance_but_no_row():
    drawn = knowledge(X, "random")
    scale = np.sqrt(np.diag(np.cov(X, rowvar=False)))
    assert (np.abs(drawn.mean(0) - X.mean(0)) < 5 * scale / np.sqrt(len(X))).all()
    correlation_gap = (np.cov(drawn, rowvar=False) - np.cov(X, rowvar=False)) / np.outer(scale, scale)
    assert np.abs(correlation_gap).max() < 5 * np.sqrt(2 / len(X)), "five standard errors of a correlation"
    shuffled_columns = np.stack([RNG.permutation(column) for column in X.T], axis=1)
    wrong = (np.cov(shuffled_columns, rowvar=False) - np.cov(X, rowvar=False)) / np.outer(scale, scale)
    assert np.abs(wrong).max() > 5 * np.sqrt(2 / len(X)), "columns shuffled one by one should fail here"
    assert not set(rows(drawn)) & set(rows(X))


def test_random_of_fewer_rows_than_columns_stays_in_their_span():
    wide = RNG.normal(size=(5, 40)).astype("float32")
    drawn = knowledge(wide, "random") - wide.mean(0)
    basis = np.linalg.svd(wide - wide.mean(0), full_matrices=False)[2][:4]
    np.testing.assert_allclose(drawn @ basis.T @ basis, drawn, atol=1e-4)


def test_a_single_column_works():
    assert knowledge(X[:, :1], "random").shape == (4000, 1)


@pytest.mark.parametrize("kind", ["false", "True", None, True])
def test_unknown_kind(kind):
    with pytest.raises(klm.ConfigError, match="'true' or 'shuffled' or 'random' or 'absent'"):
        knowledge(X, kind)


@pytest.mark.parametrize(
    "table",
    [
        np.zeros(3),
        np.zeros((0, 3)),
        np.array([[1.0, np.nan]]),
        np.array([[np.inf, 1.0]]),
        np.array([[1j, 1.0], [2.0, 3.0]]),  # would lose its imaginary part
        np.ma.array([[1.0, 9.0], [2.0, 3.0]], mask=[[0, 1], [0, 0]]),  # would show what is masked
        [["a", "b"]],
        [[1.0, 2.0], [1.0]],
        None,
    ],
)
def test_vectors_that_are_no_finite_table(table):
    with pytest.raises(klm.DataError, match="finite table"):
        knowledge(table, "shuffled")
