"""One model of another library on one split, in the environment of `make peers`; called by run.py.

    build/peers/.venv/bin/python benchmarks/peers/others.py DATA SPLIT MODEL BUDGET OUT

DATA/SPLIT holds RecBole's files; OUT.npz gets the scores of all users and items, float32 [users, items], and OUT.json
seconds, CPU seconds, MB. BUDGET: CPU seconds after which a training is cut; the best epoch on valid until then is used.
"""

import functools
import json
import logging
import os
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse
import torch

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
torch.set_num_threads(1)
# What RecBole 1.2.1 needs with today's torch and scipy: it loads its own checkpoints, made a moment before, by pickle,
# and its LightGCN calls a method that scipy 1.13 has dropped.
torch.load = functools.partial(torch.load, weights_only=False)
if not hasattr(scipy.sparse.dok_matrix, "_update"):
    scipy.sparse.dok_matrix._update = lambda self, data: self._dict.update(data)

LABEL = {"embedding_size": 16, "train_batch_size": 2048, "learning_rate": 1e-3, "epochs": 50, "stopping_step": 5}
CHOICE = {"train_batch_size": 2048, "learning_rate": 1e-3, "epochs": 300, "stopping_step": 10}
SETTINGS = {  # weight decays as found best on valid of `random` in an earlier comparison; the rest is RecBole's own
    "FM": LABEL | {"weight_decay": 1e-4},
    "DeepFM": LABEL | {"weight_decay": 1e-3},
    "AutoInt": LABEL | {"weight_decay": 0.0},
    "BPR": CHOICE | {"weight_decay": 1e-5},
    "LightGCN": CHOICE | {"learning_rate": 5e-3},
    "SASRec": CHOICE
    | {"train_batch_size": 256, "MAX_ITEM_LIST_LENGTH": 20, "inner_size": 64, "hidden_act": "relu"}
    | {"hidden_dropout_prob": 0.2, "attn_dropout_prob": 0.2},  # its defaults take minutes an epoch on one core
}
FEATURES = {"user": ["user_id", "age", "gender", "occupation"], "item": ["item_id", "release_year", "class"]}


class Quiet:
    """In place of TensorBoard."""

    def __getattr__(self, name):
        return lambda *args, **kwargs: None


def recbole(data: Path, split: str, model: str, budget: float, folder: Path) -> tuple[np.ndarray, dict]:
    """Scores of all pairs, and how long it took."""
    import recbole.trainer.trainer
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed

    recbole.trainer.trainer.get_tensorboard = lambda *args, **kwargs: Quiet()
    sys.argv = sys.argv[:1]  # which RecBole would read
    settings = {"data_path": str(data), "checkpoint_dir": str(folder), "use_gpu": False, "state": "CRITICAL"}
    settings |= {"show_progress": False, "seed": 2024, "normalize_all": False} | SETTINGS[model]
    kind = "label" if model in ("FM", "DeepFM", "AutoInt") else "sequence" if model == "SASRec" else "choice"
    files = {"benchmark_filename": ["train", "valid", "test"]}
    if kind == "label":
        settings |= files | {"load_col": {"inter": ["user_id", "item_id", "label"]} | FEATURES, "LABEL_FIELD": "label"}
        settings |= {"metrics": ["AUC", "LogLoss"], "valid_metric": "AUC", "train_neg_sample_args": None}
        settings |= {
            "eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "RO", "group_by": None, "mode": "labeled"}
        }
    else:
        settings |= {"metrics": ["NDCG"], "topk": [10], "valid_metric": "NDCG@10", "eval_batch_size": 200 * 4096}
        settings |= {"load_col": {"inter": ["user_id", "item_id"], "item": ["item_id"]}}
        how, order = {"RS": [0.8, 0.1, 0.1]}, "RO"
        if kind == "sequence":
            how, order, split = {"LS": "valid_and_test"}, "TO", f"{split}-sequence"
            settings["load_col"] = {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id"]}
            settings |= {"train_neg_sample_args": None, "eval_batch_size": 512, "repeatable": True}
        else:
            settings |= files
        settings["eval_args"] = {"split": how, "order": order, "group_by": "user", "mode": "full"}
    config = Config(model=model, dataset=split, config_dict=settings)
    init_seed(config["seed"], config["reproducibility"])
    torch.use_deterministic_algorithms(False)
    dataset = create_dataset(config)
    train, valid, test = data_preparation(config, dataset)
    net = get_model(model)(config, train._dataset)
    trainer = get_trainer(config["MODEL_TYPE"], model)(config, net)
    epoch, done = trainer._train_epoch, []

    def within_budget(*args, **kwargs):
        if done and time.process_time() - cpu + max(done) > budget:
            raise TimeoutError
        begun = time.process_time()
        loss = epoch(*args, **kwargs)
        done.append(time.process_time() - begun)
        return loss

    trainer._train_epoch = within_budget
    start, cpu, cut = time.perf_counter(), time.process_time(), False
    try:
        trainer.fit(train, valid, saved=True, show_progress=False)
    except TimeoutError:
        cut = True
    took = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu, "cut": cut, "epochs": len(done)}
    net.load_state_dict(torch.load(trainer.saved_model_file, map_location="cpu")["state_dict"])
    Path(trainer.saved_model_file).unlink()
    return {"label": of_pairs, "choice": of_users, "sequence": of_sequences}[kind](net.eval(), dataset, test), took


@torch.no_grad()
def of_pairs(net, dataset, test) -> np.ndarray:
    """Of a model that scores rows with their features."""
    from recbole.data.interaction import Interaction

    rows = []
    items = torch.arange(1, dataset.item_num)
    for user in range(1, dataset.user_num):
        pairs = Interaction({"user_id": torch.full_like(items, user), "item_id": items})
        rows.append(net.predict(dataset.join(pairs)).numpy())
    return by_id(np.stack(rows), dataset)


@torch.no_grad()
def of_users(net, dataset, test) -> np.ndarray:
    """Of a model that scores all items of a user."""
    from recbole.data.interaction import Interaction

    users = torch.arange(1, dataset.user_num)
    scores = net.full_sort_predict(Interaction({"user_id": users})).view(len(users), -1)
    return by_id(scores[:, 1 : dataset.item_num].numpy(), dataset)


@torch.no_grad()
def of_sequences(net, dataset, test) -> np.ndarray:
    """Of a model that goes on with each user's sequence, the valid item included (RecBole's way)."""
    rows = test._dataset.inter_feat
    scores = np.full((dataset.user_num - 1, dataset.item_num - 1), -1e9, dtype=np.float32)
    for start in range(0, len(rows), 256):
        some = rows[start : start + 256]
        found = net.full_sort_predict(some).view(len(some), -1)[:, 1 : dataset.item_num]
        scores[some["user_id"].numpy() - 1] = found.numpy()
    return by_id(scores, dataset)


def by_id(scores: np.ndarray, dataset) -> np.ndarray:
    """Rows and columns in the order of the ids 1, 2, ... that run.py has written."""
    users, items = (dataset.field2id_token[name] for name in ("user_id", "item_id"))
    n_users, n_items = (max(int(token) for token in tokens[1:]) for tokens in (users, items))
    whole = np.full((n_users, n_items), -1e9, dtype=np.float32)
    places = (np.array([int(token) - 1 for token in tokens[1:]]) for tokens in (users, items))
    whole[np.ix_(*places)] = scores[:, : len(items) - 1]
    return whole


def implicit_als(data: Path, split: str) -> tuple[np.ndarray, dict]:
    """The implicit package's ALS, its setting picked on valid; the time is that of all settings."""
    from implicit.als import AlternatingLeastSquares

    rows = {
        part: pd.read_csv(data / split / f"{split}.{part}.inter", sep="\t").to_numpy()[:, :2].astype(int).T - 1
        for part in ("train", "valid")
    }
    shape = [len((data / split / f"{split}.{name}").read_text().splitlines()) - 1 for name in ("user", "item")]
    x = scipy.sparse.csr_matrix((np.ones(rows["train"].shape[1], dtype=np.float32), tuple(rows["train"])), shape=shape)
    start, cpu, best = time.perf_counter(), time.process_time(), (-1.0, None)
    for alpha in (2.0, 8.0):
        for reg in (3.0, 10.0, 30.0):
            model = AlternatingLeastSquares(
                factors=32, alpha=1 + alpha, regularization=reg, iterations=8, num_threads=1, random_state=0
            )
            model.fit(x, show_progress=False)
            scores = model.user_factors @ model.item_factors.T
            seen = np.where(x.toarray() > 0, -np.inf, scores)
            user, item = rows["valid"]
            place = (seen[user] > seen[user, item][:, None]).sum(1) + 1
            value = float(np.where(place <= 10, 1 / np.log2(place + 1), 0).mean())
            best = max(best, (value, (scores, alpha, reg)), key=lambda one: one[0])
    took = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu, "cut": False, "epochs": 8}
    return best[1][0], took | {"picked": best[1][1:]}


def peak() -> float:
    """The most memory this process ever held, in MB; `ru_maxrss` would count what started it."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def main(data: str, split: str, model: str, budget: str, out: str) -> None:
    if model == "implicit":
        scores, took = implicit_als(Path(data), split)
    else:
        scores, took = recbole(Path(data), split, model, float(budget), Path(out).parent / f"{Path(out).name}-weights")
    took["mb"] = peak()
    np.savez_compressed(f"{out}.npz", scores=scores.astype(np.float32))
    Path(f"{out}.json").write_text(json.dumps(took), encoding="utf8")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(*sys.argv[1:])
