"""One of this course's models on one split, in a process of its own, as others.py does it for theirs.

python benchmarks/peers/own.py - SPLIT MODEL - OUT
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from run import QUESTION, split_of

import klm_utils as klm
from klm_utils.course.lessons import cost

KNOWN = {"id_dropout": 0.0, "batch": 256, "lr": 0.01}  # settings of notebook 05 for known films, chosen


def fitted(model: str, split, objective: str):
    """The model of this name; of ours, the presets of the course."""
    if not model.startswith("KLM"):
        return klm.baselines.BASELINES[objective][model]().fit(split)
    encoder = klm.TextEncoder.from_pretrained("minilm") if "text" in model else None
    ours = klm.KLMRecommender.from_split(split, encoder=encoder)
    settings = KNOWN if objective == "interaction" else {"id_dropout": 0.0 if split.name == "random" else 0.2}
    klm.fit(ours, split, klm.TrainConfig(objective=objective, **settings))
    return ours


def main(_: str, name: str, model: str, __: str, out: str) -> None:
    torch.set_num_threads(1)
    split = split_of(name)
    start, cpu = time.perf_counter(), time.process_time()
    found = fitted(model, split, QUESTION[name])
    took = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu, "cut": False}
    users, items = split.dataset.users.index.to_numpy(), split.dataset.items.index.to_numpy()
    if hasattr(found, "predict_grid"):
        scores = found.predict_grid(users, items)
    else:
        scores = np.stack([found.predict(np.full(len(items), user), items) for user in users])
    took["mb"] = cost.peak()
    np.savez_compressed(f"{out}.npz", scores=scores.astype(np.float32))
    Path(f"{out}.json").write_text(json.dumps(took), encoding="utf8")


if __name__ == "__main__":
    main(*sys.argv[1:])
