"""The training that two processes of notebook 05 share.

    torchrun --standalone --nproc_per_node=2 -m klm_utils.course.lessons.two_processes FOLDER

Each process takes half of every step; the first one saves the model to FOLDER.
"""

import sys

import torch
import torch.distributed as dist

import klm_utils as klm

EPOCHS = 4

if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    assert dist.get_world_size() == 2, "torchrun has started one process only"
    split = klm.split(klm.load_dataset("movielens-100k"), "cold_item", fold=0)
    model = klm.KLMRecommender.from_split(split)
    klm.fit(model, split, klm.TrainConfig(objective="interaction", epochs=EPOCHS))
    if dist.get_rank() == 0:
        model.save_pretrained(sys.argv[1])
    dist.destroy_process_group()
