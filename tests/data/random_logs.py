"""Random logs for what must hold of every split."""

import numpy as np
import pandas as pd
from hypothesis import strategies as st

import klm_utils as klm
from klm_utils import DataError, RecDataset


def make_log(seed, n_items, n_users, n_rows, n_titles, with_year=True):
    """A random log with many ties in time and, when n_titles is small, many twins."""
    rng = np.random.default_rng(seed)
    items = pd.DataFrame(
        {"title": [f"t{i}" for i in rng.integers(n_titles, size=n_items)]},
        index=pd.Index(range(n_items), name="item_id"),
    )
    if with_year:
        items["year"] = pd.array(rng.choice([1990, 1991, None], size=n_items), dtype="Int64")
    log = pd.DataFrame(
        {
            "user_id": rng.integers(n_users, size=n_rows),
            "item_id": rng.integers(n_items, size=n_rows),
            "timestamp": rng.integers(20, size=n_rows),
            "label": rng.integers(2, size=n_rows),
        }
    ).drop_duplicates(["user_id", "item_id", "timestamp"])
    users = pd.DataFrame(index=pd.Index(range(n_users), name="user_id"))
    return RecDataset.from_frames(items, users, log, name="random log")


logs = st.builds(
    make_log,
    seed=st.integers(0, 10_000),
    n_items=st.integers(3, 40),
    n_users=st.integers(3, 40),
    n_rows=st.integers(30, 400),
    n_titles=st.integers(1, 60),
    with_year=st.booleans(),
)


def attempt(ds, name, seed, **options):
    """The split, or None where the log is too small for it."""
    try:
        return klm.split(ds, name, seed, **options)
    except DataError as error:
        assert any(why in error.what for why in ("too small", "too few", "share one title"))
        return None


def twin_keys(ds):
    """The title and year of each item as text: an account of twins independent of the module's."""
    years = ds.items["year"].map(str) if "year" in ds.items else ""
    return ds.items["title"] + "|" + years
