"""New films, ten folds: facts read inside of the sentence as K-BERT does it, read plainly, and the facts of others.

    python benchmarks/kbert.py [FOLDS]   # 10: about fifteen minutes on one core; writes docs/results/kbert.json

Folds, kernel ridge and "text" are those of `facts.py`. The language model has never met a tree and is not trained.
"Same words": the sentences of a tree, one for each fact, one after the other. "Trunk": a tree, of which only the
tokens of title, year and genres are pooled. Nothing was sought here.
"""

import hashlib
import sys
from pathlib import Path

from facts import data
from folds import stamp

import klm_utils as klm
from klm_utils.course.lessons import kbert
from klm_utils.evaluation import experiment
from klm_utils.knowledge.templates import FIELDS, item_text, item_texts

OUT = Path(__file__).parents[1] / "docs" / "results" / "kbert.json"


def same_words(ds: klm.RecDataset) -> list[str]:
    """Each item with its facts as one text, a sentence for each value: what the branches of its tree say."""
    texts = []
    for row, sentence in zip(ds.items.to_dict("records"), item_texts(ds), strict=True):
        texts.append(" ".join([sentence, *(item_text({f: [v]}, None, (f,)) for f in ds.facts for v in row[f])]))
    return texts


def main(folds: int) -> None:
    encoder = klm.TextEncoder.from_pretrained("minilm")
    ds, others = data("true"), data("others")
    trees = kbert.item_trees(ds, encoder)
    vectors = {
        "text": encoder.encode(item_texts(ds)),
        "text, facts read plainly": encoder.encode(item_texts(ds, fields=(*FIELDS, *ds.facts))),
        "text, facts as trees": kbert.encode_trees(encoder, trees),
        "text, facts of others as trees": kbert.encode_trees(encoder, kbert.item_trees(others, encoder)),
        "text, facts read plainly, same words": encoder.encode(same_words(ds)),
        "text, facts as trees, trunk": kbert.encode_trees(encoder, trees, over="trunk"),
    }
    own = Path(kbert.__file__).read_bytes() + Path(__file__).read_bytes()
    mark = hashlib.sha256(stamp().encode() + own).hexdigest()[:16]

    def ridge(kind: str):
        return lambda split, fold: klm.baselines.KernelRidge(vectors[kind]).fit(split)

    variants = {"no text": lambda split, fold: klm.baselines.KernelRidge().fit(split)}
    variants |= {kind: ridge(kind) for kind in vectors}
    for fold in range(folds):
        split = klm.split(ds, "cold_item", fold=fold)
        runs = experiment.run(variants, {fold: split}, keep=OUT, stamp=mark)
        print(runs.values().round(3).to_string(), flush=True)
    for base in ("text", "text, facts read plainly", "text, facts as trees"):
        print(runs.table(base).round(3).to_string(), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
