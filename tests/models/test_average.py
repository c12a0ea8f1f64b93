"""The mean of models is the mean of their numbers, and of one question only."""

import numpy as np
import pytest

import klm_utils as klm
from klm_utils.errors import ConfigError


@pytest.fixture(scope="module")
def models(small):
    split = klm.split(small, "random")
    return split, klm.baselines.UserItemBias().fit(split), klm.baselines.Logistic((1.0,)).fit(split)


def test_the_mean_of_their_probabilities(models):
    split, bias, logistic = models
    pairs = split.test["user_id"], split.test["item_id"]
    both = klm.Average(bias, logistic)
    np.testing.assert_allclose(both.predict(*pairs), (bias.predict(*pairs) + logistic.predict(*pairs)) / 2)
    assert both.name == "mean of user + item bias, logistic regression" and both.protocol == split.protocol
    assert klm.evaluate(both, split, n_boot=20).objective == "label"


def test_models_of_two_questions_or_two_splits_are_refused(models, small):
    split, bias, _ = models
    with pytest.raises(ConfigError, match="differ in objective"):
        klm.Average(bias, klm.baselines.Popularity().fit(split))
    with pytest.raises(ConfigError, match="differ in protocol"):
        klm.Average(bias, klm.baselines.UserItemBias().fit(klm.split(small, "random", seed=1)))
    with pytest.raises(ConfigError, match="needs models"):
        klm.Average(bias)
    with pytest.raises(ConfigError, match="no predict"):
        klm.Average(bias, np.mean)
