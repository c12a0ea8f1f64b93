"""Seconds that training the frozen model takes once the texts are encoded, and what full-matrix scoring saves."""

import time

import numpy as np
import torch

import klm_utils as klm

CASES = (
    ("random", {"objective": "label", "id_dropout": 0.0}),
    ("cold_item", {"objective": "label"}),
    ("cold_item", {"objective": "interaction"}),
    ("random", {"objective": "interaction", "id_dropout": 0.0, "batch": 256, "lr": 0.01}),
)


def main():
    torch.set_num_threads(2)
    ds, encoder = klm.load_dataset("movielens-100k"), klm.TextEncoder.from_pretrained("minilm")
    for name, settings in CASES:
        split = klm.split(ds, name)
        model = klm.KLMRecommender.from_split(split, encoder=encoder)
        print(f"{name}, {settings['objective']}: {klm.fit(model, split, klm.TrainConfig(**settings))}")
    users, items = ds.users.index.to_numpy(), ds.items.index.to_numpy()
    start = time.perf_counter()
    grid = model.predict_grid(users, items)
    middle = time.perf_counter()
    pairs = model.predict(np.repeat(users, len(items)), np.tile(items, len(users)))
    ratio = (time.perf_counter() - middle) / (middle - start)
    assert np.allclose(grid.ravel(), pairs, atol=1e-6)
    print(f"scores of all {len(pairs):,} pairs: one by one take {ratio:.1f} times as long as the full matrix")


if __name__ == "__main__":
    main()
