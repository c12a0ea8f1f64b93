"""New films, ten folds: the frozen model for as many epochs as `full, long head`, so that time and teaching part.

    python benchmarks/longer.py [FOLDS]   # 10: about ten minutes on two cores; writes docs/results/folds_longer.json

`full, long head` of benchmarks/folds.py learns for 60 epochs with a language model that stands still, and for 8 more in
which it learns. Here it stands still in the last 8 too: once with the settings of `frozen`, once with those of `full`
(the steps of the fusion are warmed up, and long gradients shortened). So the second one is `full, long head` up to
epoch 60, and after that differs from it by nothing but what the language model learns. "apart" says how far the first
60 epochs are from the stored ones of that run, at most, over valid and test.
"""

import json
import runpy
import sys
from pathlib import Path

import klm_utils as klm
from klm_utils.course import results
from klm_utils.evaluation import ranking
from klm_utils.files import atomic_write

OUT = Path(__file__).parents[1] / "docs" / "results" / "folds_longer.json"
FOLDS = runpy.run_path(str(Path(__file__).with_name("folds.py")))
HEAD, EPOCHS = FOLDS["EPOCHS"], FOLDS["EPOCHS"] + FOLDS["TEXT"]
SETTINGS = {  # label: settings, and the stored run that the first 60 epochs repeat
    "frozen, 68 epochs": ({}, "frozen, setting 0"),
    "frozen, settings of full, 68 epochs": ({"warmup": 20, "clip": 1.0}, "full, long head"),
}


def main(folds: int) -> None:
    ds, encoder = klm.load_dataset("movielens-100k"), klm.TextEncoder.from_pretrained("minilm")
    before = results("folds_curves")["curves"]
    known = json.loads(OUT.read_text(encoding="utf8")) if OUT.exists() else {}
    found = known if known.get("stamp") == FOLDS["stamp"]() else {"stamp": FOLDS["stamp"](), "curves": {}, "apart": {}}
    for fold in range(folds):
        split = klm.split(ds, "cold_item", fold=fold)

        def watch(model, split=split):
            return {"test": ranking.rank(model, split, among="part").values["ndcg@10"].mean()}

        for label, (settings, stored) in SETTINGS.items():
            if str(fold) in found["curves"].get(label, {}):
                continue
            model = klm.KLMRecommender.from_split(split, seed=fold, encoder=encoder)
            config = klm.TrainConfig(objective="interaction", seed=fold, epochs=EPOCHS, patience=EPOCHS, **settings)
            epochs = klm.fit(model, split, config, watch=watch).epochs[["valid", "test"]].round(4)
            first = {part: before[stored][str(fold)][part][:HEAD] for part in epochs}
            apart = max((epochs[part][:HEAD] - first[part]).abs().max() for part in epochs)
            found["curves"].setdefault(label, {})[str(fold)] = epochs.to_dict("list")
            found["apart"].setdefault(label, {})[str(fold)] = round(float(apart), 4)
            text = json.dumps(found) + "\n"
            atomic_write(OUT, lambda part, text=text: part.write_text(text, encoding="utf8"))
        print(f"fold {fold} is done", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
