"""What notebook 04 says of losses in use: sampled negatives, and the loss that transformers picks by itself."""

import numpy as np
import torch
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from transformers import BertConfig, BertForSequenceClassification

from klm_utils import losses
from klm_utils.evaluation import metrics


def test_sampled_negatives_are_corrected_by_log_r():
    """Known probabilities, negatives kept at a rate: z + log r is calibrated, z is not (errata E35)."""
    rng, rate = np.random.default_rng(0), 0.1
    x = rng.normal(size=(60_000, 3))
    truth = expit(x @ [1.0, -0.5, 0.3] - 2.0)
    y = (rng.random(len(x)) < truth).astype(int)
    kept = (y == 1) | (rng.random(len(x)) < rate)
    z = LogisticRegression(C=1e6).fit(x[kept], y[kept]).decision_function(x)
    assert metrics.ece(y, expit(z)) > 0.2 and metrics.ece(y, expit(z + np.log(rate))) < 0.02
    assert np.abs(expit(z + np.log(rate)) - truth).max() < 0.05


def test_one_output_of_transformers_is_a_squared_error():
    """Its loss is chosen by `num_labels`, not by the labels (errata E33)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        model = BertForSequenceClassification(BertConfig(vocab_size=30, num_labels=1, **small)).eval()
    y = torch.tensor([1.0, 0.0, 0.0])
    out = model(input_ids=torch.arange(1, 13).view(3, 4), labels=y)
    torch.testing.assert_close(out.loss, losses.squared_error(out.logits[:, 0], y))
    assert not torch.isclose(out.loss, losses.bce_with_logits(out.logits[:, 0], y))
