"""What training costs: the language model reads at least 40 times less where each step reads an item once."""

import numpy as np
import pytest
import torch

from klm_utils.course.lessons import cost
from klm_utils.errors import ConfigError


def test_item_grouped_training_reads_at_least_forty_times_less():
    grouped = cost.in_a_process_of_its_own(mode="full", objective="label", steps=1)
    by_row = cost.in_a_process_of_its_own(mode="full", objective="label", grouped=False, steps=1)
    assert by_row["positions"] > 40 * grouped["positions"] > 0
    assert by_row["trained"] == grouped["trained"] == 10_844_928
    assert all(found["seconds"] > 0 and found["peak_mb"] > found["kept_mb"] > 10 for found in (grouped, by_row))


def test_a_frozen_model_reads_nothing_in_a_step():
    found = cost.measure(mode="frozen", steps=1)
    assert found["positions"] == found["trained"] == 0 and found["seconds"] > 0


def test_what_is_kept_for_the_way_back_is_counted_once_and_without_the_weights():
    weight = torch.nn.Linear(3, 4)
    with cost.kept_for_the_way_back(weight) as kept:
        x = torch.ones(5, 3)
        y = weight(x).sigmoid()
        loss = (y * y).sum()
    assert sum(kept.values()) == 4 * (x.numel() + y.numel()) and loss.requires_grad


def test_a_measurement_that_fails_says_why():
    with pytest.raises(ConfigError, match="Unknown mode"):
        cost.in_a_process_of_its_own(mode="lora")


def test_the_peak_is_that_of_the_new_process_and_not_of_ours():
    ballast = np.ones(2**28)  # 2 GiB; getrusage would count them
    found = cost.in_a_process_of_its_own(mode="frozen", steps=1)
    assert 100 < found["peak_mb"] < ballast.nbytes / 2**20
