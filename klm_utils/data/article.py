"""The three items, three users and three tag sequences of the source article (lines 61-82)."""

import json

import pandas as pd

from klm_utils.data.schema import RecDataset
from klm_utils.data.shipped import shipped


def load() -> RecDataset:
    """The article's data as it stands: no log, so nothing supervised can be learned from it (E4).

    items: `title`, `tags`. users: `age`, `gender`, `interests` and `sequence`, the tags of what the user did. The
    article calls the last one `user_biases` (E3); it holds tags, no items and no times. Card: `data/article/README.md`.

    Raises:
        AssetError: the files are not where the package expects them.
    """
    items = json.loads(shipped("article/items.json").read_text(encoding="utf-8"))
    users = json.loads(shipped("article/users.json").read_text(encoding="utf-8"))
    return RecDataset.from_frames(
        pd.DataFrame(items),
        pd.DataFrame(users),
        None,
        name="article",
        license="facts quoted for study",
        source="the source article, section 3.2, step 1; titles of items 2 and 3 are ours",
    )
