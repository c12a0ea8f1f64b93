"""One training of what comes next, alone, or shared by the processes of torchrun. Run by test_fit_next.py.

Usage: shared_next.py FOLDER LOSS. Each process writes FOLDER/rank_N.safetensors.
"""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from worlds import planted

import klm_utils as klm
from klm_utils import files
from klm_utils.models.sequence import SASRec
from klm_utils.training import distributed
from klm_utils.training.next_item import NextConfig, fit_next

FOLDER, LOSS = Path(sys.argv[1]), sys.argv[2]

if __name__ == "__main__":
    torch.set_num_threads(1)
    if "WORLD_SIZE" in os.environ:
        dist.init_process_group("gloo")
    split = klm.split(planted(), "temporal")
    model = SASRec(split.dataset.items.index, width=8, length=5, dropout=0.0)
    config = NextConfig(loss=LOSS, negatives=3, epochs=3, batch=7, lr=0.01)
    rows = fit_next(model, split, config, FOLDER / "run")
    files.write_tensors(
        FOLDER / f"rank_{distributed.rank()}.safetensors", dict(model.named_parameters()), {"rows": rows}
    )
    if "WORLD_SIZE" in os.environ:
        dist.destroy_process_group()
