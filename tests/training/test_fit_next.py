"""Training of what comes next: each loss is what it says, learns, goes on after a kill, and is shared by processes."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

import klm_utils as klm
from klm_utils import files
from klm_utils.errors import CheckpointError, ConfigError
from klm_utils.evaluation.next_item import evaluate_next
from klm_utils.models.next_item import Popular
from klm_utils.models.sequence import SASRec
from klm_utils.training import next_item
from klm_utils.training.next_item import NextConfig, fit_next, loss_of, windows

HERE = Path(__file__).parent
ROOT = Path(next_item.__file__).parents[2]


@pytest.fixture(scope="module")
def cycle():
    """Each user goes round the items in order from somewhere: who knows the last item knows the next one."""
    rows = [(u, (u * 5 + t) % 40, 100 * u + t) for u in range(60) for t in range(20)]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    items = pd.DataFrame({"item_id": range(40), "title": [f"item {n}" for n in range(40)]})
    return klm.split(klm.RecDataset.from_frames(items, None, frame), "temporal")


def build(split, **options):
    return SASRec(split.dataset.items.index, **({"width": 16, "length": 8, "dropout": 0.1} | options))


@pytest.mark.parametrize("loss", next_item.LOSSES)
def test_each_loss_learns_an_order_that_popularity_cannot(cycle, loss):
    model = build(cycle)
    rows = fit_next(model, cycle, NextConfig(loss=loss, negatives=4, epochs=25, lr=0.02, batch=16))
    assert rows[-1]["loss"] < rows[0]["loss"]
    reached = evaluate_next(model, cycle, n_boot=2).metrics["ndcg@10"]
    popular = Popular(model.items).fit(next_item.sequences(cycle))
    assert reached > 0.8 and evaluate_next(popular, cycle, n_boot=2).metrics["ndcg@10"] < 0.4


def test_every_item_but_the_first_is_predicted_once():
    found = windows([list(range(8)), [3, 4]], pd.Index(range(10)), 3)
    assert found.tolist() == [[4, 5, 6, 7], [1, 2, 3, 4], [-1, -1, 0, 1], [-1, -1, 3, 4]]


def test_losses_from_their_definitions(cycle):
    model, window = build(cycle, dropout=0.0), torch.tensor([[-1, -1, 3, 4, 5]])
    others = torch.tensor([[[7], [8], [9], [5]]])  # the last one is the target itself, drawn by chance
    known = torch.arange(40) < 30
    z = model.scores(model(window[:, :-1], model.table())[0, 2:], model.table())
    softmax = F.cross_entropy(z[:, :30], torch.tensor([4, 5]), reduction="sum")
    torch.testing.assert_close(loss_of(model, window, known, NextConfig()), softmax)
    bce = -F.logsigmoid(z[0, 4]) - F.logsigmoid(z[1, 5]) - F.logsigmoid(-z[0, 9])
    torch.testing.assert_close(loss_of(model, window, known, NextConfig("bce"), others), bce)
    no_trust = NextConfig("gbce", trust=0.0)
    torch.testing.assert_close(loss_of(model, window, known, no_trust, others), bce)
    power = next_item.beta(NextConfig("gbce", trust=1.0), 30)
    assert power == pytest.approx(1 / 29), "with full trust the share of the others that is asked"
    full = loss_of(model, window, known, NextConfig("gbce", trust=1.0), others)
    torch.testing.assert_close(full, bce - (1 - power) * (-F.logsigmoid(z[0, 4]) - F.logsigmoid(z[1, 5])))


def test_an_interrupted_run_goes_on_as_if_it_had_never_stopped(cycle, tmp_path, monkeypatch):
    config = NextConfig(epochs=4, batch=16)
    whole = build(cycle)
    rows = fit_next(whole, cycle, config)
    model, steps, step = build(cycle), [0], next_item._Run.step

    def stop(self, *rest):
        steps[0] += 1
        if steps[0] == 9:
            raise KeyboardInterrupt
        return step(self, *rest)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(next_item._Run, "step", stop)
        fit_next(model, cycle, config, tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), build(cycle).parameters(), strict=True))
    again = build(cycle)
    assert fit_next(again, cycle, config, tmp_path) == rows
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), whole.parameters(), strict=True))
    with pytest.raises(CheckpointError, match="holds another run"):
        fit_next(build(cycle), cycle, replace(config, lr=0.1), tmp_path)


def run(folder, loss, world):
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(world)] if world > 1 else []
    path = os.pathsep.join([str(ROOT), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    environment = {name: value for name, value in os.environ.items() if name != "WORLD_SIZE"} | {"PYTHONPATH": path}
    command = [sys.executable, *launcher, str(HERE / "shared_next.py"), str(folder), loss]
    folder.mkdir()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    return [files.read_tensors(folder / f"rank_{rank}.safetensors") for rank in range(world)]


@pytest.mark.parametrize("loss", ["softmax", "bce"])
def test_two_processes_end_where_one_does(tmp_path, loss):
    [(alone, one)], ((left, two), (right, _)) = run(tmp_path / "alone", loss, 1), run(tmp_path / "shared", loss, 2)
    for name, weight in alone.items():
        assert torch.equal(left[name], right[name]), name
        if name.endswith("key.bias"):  # its gradient is 0 but for rounding, which Adam blows up
            continue
        torch.testing.assert_close(left[name], weight, rtol=0, atol=2e-4, msg=name)
    assert np.allclose([r["loss"] for r in one["rows"]], [r["loss"] for r in two["rows"]], atol=1e-4)


@pytest.mark.parametrize("wrong", [{"loss": "hinge"}, {"lr": 0.0}, {"epochs": 0}, {"trust": 2.0}, {"seed": -1}])
def test_settings_without_meaning_are_refused(wrong):
    with pytest.raises(ConfigError):
        NextConfig(**wrong)


def test_a_model_of_other_items_or_a_loss_that_runs_away_is_refused(cycle):
    with pytest.raises(ConfigError, match="other items"):
        fit_next(SASRec([1, 2, 3]), cycle)
    model = build(cycle)
    model.bias.data[0] = torch.nan
    with pytest.raises(ConfigError, match="no longer finite"):
        fit_next(model, cycle, NextConfig(epochs=1))
