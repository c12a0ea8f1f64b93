"""What a large catalogue costs: one pair, and one step of training, with 200,000 items against 2,000.

python tests/benchmarks/bench_scoring.py
"""

import time

import numpy as np
import torch

from klm_utils import losses
from klm_utils.data.catalogue import Catalogue
from klm_utils.fusion import FUSIONS

SMALL, LARGE, USERS, ROWS = 2_000, 200_000, 1_000, 1_024


def fusion_of(items: int, name: str):
    """A fusion over a made-up catalogue in which each user has chosen fifty items."""
    rng = np.random.default_rng(0)
    pairs = np.unique(np.repeat(np.arange(USERS), 50) * items + rng.integers(items, size=50 * USERS))
    made = FUSIONS[name](
        Catalogue(
            text=rng.normal(size=(items, 64)).astype("float32"),
            user_text=np.zeros((USERS, 0), dtype="float32"),
            item_features=(rng.random((items, 20)) < 0.1).astype("float32"),
            user_features=np.ones((USERS, 3), dtype="float32"),
            pairs=np.stack([pairs // items, pairs % items]),
            known_users=np.ones(USERS, dtype=bool),
            known_items=np.ones(items, dtype=bool),
        )
    )
    return made.eval()


def milliseconds(work, repeat: int = 30) -> float:
    """The median of some runs: the shortest would hide memory that is cleared now and then."""
    work()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


def costs(items: int, name: str) -> dict[str, float]:
    """Milliseconds of each thing."""
    fusion, draw = fusion_of(items, name), torch.Generator().manual_seed(0)
    one = torch.tensor([3]), torch.tensor([items // 2])
    users, rows = (torch.randint(high, (ROWS,), generator=draw) for high in (USERS, items))
    y = torch.randint(2, (ROWS,), generator=draw).float()
    optimizer = torch.optim.AdamW(fusion.parameters(), lr=0.01)
    with torch.no_grad():
        found = {"one pair": milliseconds(lambda: fusion(*one)), "a batch": milliseconds(lambda: fusion(users, rows))}

    def loss():
        return losses.bce_with_logits(fusion(users, rows, None, draw), y)

    def backward():
        optimizer.zero_grad()
        loss().backward()

    def step():
        backward()
        optimizer.step()

    fusion.train()
    found |= {"loss": milliseconds(loss), "loss, gradient": milliseconds(backward)}
    found["loss, gradient, AdamW"] = milliseconds(step)
    fusion.id_dropout = fusion.user_dropout = 0.2
    return found | {"loss, a draw for each item": milliseconds(loss)}


def main() -> None:
    torch.set_num_threads(1)
    print(f"{LARGE:,} items against {SMALL:,}; a batch of {ROWS:,} rows; milliseconds, and their ratio")
    for name in ("dot", "target"):
        small, large = costs(SMALL, name), costs(LARGE, name)
        for what in small:
            print(f"{name:7s} {what:27s} {small[what]:8.2f} {large[what]:9.2f}   x {large[what] / small[what]:.1f}")
        assert large["one pair"] < 2 * small["one pair"], "the score of a pair must not depend on the catalogue"


if __name__ == "__main__":
    main()
