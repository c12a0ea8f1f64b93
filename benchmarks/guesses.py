"""What a language model guesses for a hidden word, before and after four epochs on our texts.

    python benchmarks/guesses.py   # two minutes; writes docs/results/guesses.json

The films are new in fold 0: none of these texts was among those that were learned from.
"""

import json
from pathlib import Path

import klm_utils as klm
from klm_utils.course.lessons.training_trials import Trials, guess
from klm_utils.embedding.mlm import MaskedHead
from klm_utils.files import atomic_write

OUT = Path(__file__).parents[1] / "docs" / "results" / "guesses.json"
HIDDEN = {
    "The Shining (1980). Horror.": "horror",
    "Star Trek: First Contact (1996). Action, Adventure, Sci-Fi.": "adventure",
    "Snow White and the Seven Dwarfs (1937). Animation, Children's, Musical.": "musical",
}


def main() -> None:
    encoder = klm.TextEncoder.from_pretrained("minilm")
    trials = Trials(klm.load_dataset("movielens-100k"), encoder, [0], [0], 1, 1, 1, mlm_texts=2000, mlm_epochs=4)
    models = {"at the start": (encoder, MaskedHead(encoder, 0)), "after four epochs": trials.pretrained(0)}
    found = {}
    for text, word in HIDDEN.items():
        every = {name: guess(*model, text, word) for name, model in models.items()}
        tokens, place, _ = next(iter(every.values()))
        likely = {name: [[w, round(p, 4)] for w, p in one] for name, (_, _, one) in every.items()}
        found[text] = {"tokens": tokens, "hidden": place, "found": likely}
        print(text, likely, flush=True)
    content = json.dumps(found, indent=1) + "\n"
    atomic_write(OUT, lambda part: part.write_text(content, encoding="utf8"))


if __name__ == "__main__":
    main()
