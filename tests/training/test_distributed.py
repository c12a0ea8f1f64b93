"""Two processes train as one."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from worlds import WORDS, tiny_encoder

from klm_utils import files
from klm_utils.training import loop

HERE = Path(__file__).parent
ROOT = Path(loop.__file__).parents[2]


def trained(folder, objective, mode, world):
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(world)] if world > 1 else []
    command = [sys.executable, *launcher, str(HERE / "shared.py"), str(folder), objective, mode, str(world)]
    path = os.pathsep.join([str(ROOT), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240)
    assert run.returncode == 0, run.stderr[-3000:]
    found = [files.read_tensors(folder / f"rank_{rank}.safetensors") for rank in range(world)]
    return found, run.stdout


@pytest.mark.parametrize(
    ("objective", "mode"),
    [("label", "frozen"), ("label", "partial"), ("interaction", "full"), ("interaction", "adapter")],
)
def test_two_processes_end_where_one_does(tmp_path, objective, mode):
    [(alone, one)], said = trained(tmp_path / "alone", objective, mode, 1)
    (left, right), shared = trained(tmp_path / "shared", objective, mode, 2)
    assert [about["world"] for _, about in (left, right)] == [2, 2] and one["world"] == 1
    assert [about["rank"] for _, about in (left, right)] == [0, 1]
    assert left[0].keys() == right[0].keys() == alone.keys()
    for name, weight in alone.items():
        assert torch.equal(left[0][name], right[0][name]), name
        assert torch.allclose(left[0][name], weight, rtol=0, atol=1e-4), name
    for key in ("loss", "valid"):
        assert np.allclose(left[1][key], one[key], atol=1e-4) and left[1][key] == right[1][key]
    assert said.count("epoch") == shared.count("epoch") == 4, "one of the two prints"
    assert len(list((tmp_path / "shared" / "curves").iterdir())) == 1, "and writes"


def test_a_loss_left_to_chance_is_not_shared(monkeypatch, build, split):
    import klm_utils as klm
    from klm_utils.errors import ConfigError
    from klm_utils.training import distributed

    monkeypatch.setattr(distributed, "world", lambda: 2)
    with pytest.raises(ConfigError, match="cannot be shared"):
        klm.fit(build(), split, klm.TrainConfig(objective="interaction", loss="sampled_softmax"))
    encoder = tiny_encoder(words=[*WORDS, "[MASK]"], mask_token="[MASK]")
    with pytest.raises(ConfigError, match="cannot be shared"):
        klm.fit(build(encoder=encoder, mode="full"), split, klm.TrainConfig(objective="interaction", mlm=0.1))
