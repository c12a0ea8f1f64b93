"""Write links.csv: which film of Wikidata each film of MovieLens-100K is. Run in the repository's folder."""

from pathlib import Path

import klm_utils as klm
from klm_utils.data import films
from klm_utils.knowledge import linking

if __name__ == "__main__":
    found = linking.link(klm.load_dataset("movielens-100k").items, films.load()).dropna()
    path = Path(__file__).with_name("links.csv")
    found.to_csv(path, index_label="item_id", lineterminator="\n")
    print(f"{path}: {len(found)} links\n{found['rule'].value_counts().to_string()}")
