"""One training shared by the processes that torchrun starts. Run by test_distributed.py.

Usage: torchrun --nproc_per_node 2 shared.py FOLDER OBJECTIVE MODE WORLD. Each process writes FOLDER/rank_N.safetensors
with its weights, and its history.
"""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from worlds import planted, tiny_encoder

import klm_utils as klm
from klm_utils import files
from klm_utils.training import distributed

FOLDER, OBJECTIVE, MODE, WORLD = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])


def main():
    torch.set_num_threads(1)
    if WORLD > 1:
        dist.init_process_group("gloo")
    rank = dist.get_rank() if WORLD > 1 else 0
    assert distributed.world() == WORLD == int(os.environ.get("WORLD_SIZE", 1))
    os.environ["KLM_CACHE"] = str(FOLDER / f"cache_{rank}")
    split = klm.split(planted(), "random")
    # Of the eight directions of a text one is empty, after a layer norm: its gradient is rounding, which Adam blows up.
    model = klm.KLMRecommender.from_split(split, tiny_encoder(layers=2), mode=MODE, text_width=4)
    batch = 7 if OBJECTIVE == "interaction" else 128  # 30 items: the last step has 2, the parts of the others 4 and 3
    settings = {"head_epochs": 1, "id_dropout": 0.2, "epochs": 4, "warmup": 4, "verbose": True, "dropout_text": 0.0}
    config = klm.TrainConfig(objective=OBJECTIVE, batch=batch, **settings)
    history = klm.fit(model, split, config, checkpoint_dir=FOLDER / "run", log_dir=FOLDER / "curves")
    weights = {name: p for name, p in model.named_parameters() if p.requires_grad}
    about = {"world": distributed.world(), "rank": rank, "loss": history.epochs["loss"].tolist()}
    files.write_tensors(
        FOLDER / f"rank_{rank}.safetensors", weights, about | {"valid": history.epochs["valid"].tolist()}
    )
    if WORLD > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
