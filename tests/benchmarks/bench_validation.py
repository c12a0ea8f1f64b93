"""What checking and cleaning a million rows costs, beside reading them: ratios within one run."""

import time
from io import StringIO

import numpy as np
import pandas as pd

import klm_utils as klm
from klm_utils.data.shop.cleaning import clean

ROWS, IDS = 1_000_000, 10_000


def seconds(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def refused(items, users, log) -> str:
    """The message of the error that these tables must raise."""
    try:
        klm.RecDataset.from_frames(items, users, log)
    except klm.DataError as error:
        return str(error)
    raise AssertionError("the bad rows were accepted")


def main() -> None:
    rng = np.random.default_rng(0)
    items = pd.DataFrame({"item_id": range(IDS), "title": "a thing"})
    users = pd.DataFrame({"user_id": range(IDS)})
    log = pd.DataFrame({key: rng.integers(IDS, size=ROWS) for key in ("user_id", "item_id", "timestamp")})
    log["label"] = 1
    text = log.to_csv(index=False)
    reading = seconds(lambda: pd.read_csv(StringIO(text)))
    print(f"{ROWS:,} rows; reading them from a CSV text takes {reading:.2f} s = 1.0")
    good = seconds(lambda: klm.RecDataset.from_frames(items, users, log))
    print(f"good rows into a RecDataset: {good / reading:.1f} ({good:.2f} s)")
    for name, bad in {
        "unknown item in every row": log.assign(item_id=IDS + 1),
        "label 2 in every row": log.assign(label=2),
        "text for a time in every row": log.assign(timestamp="yesterday"),
    }.items():
        taken = seconds(lambda bad=bad: refused(items, users, bad))
        print(f"{name}: {taken / reading:.1f} ({taken:.2f} s), message of {len(refused(items, users, bad))} characters")
    words = {"title_zh": "东西", "title_en": "thing", "tags_zh": "东西", "tags_en": "thing"}
    raw_users = users.assign(age=30, gender="female", city_tier=1, interests_zh="书", interests_en="books")
    raw = log.drop(columns="label").assign(bought=1, item_id=IDS + 1)
    taken = seconds(lambda: clean(items.assign(**words), raw_users, raw))
    print(f"cleaning, every row dropped and reported: {taken / reading:.1f} ({taken:.2f} s)")


if __name__ == "__main__":
    main()
