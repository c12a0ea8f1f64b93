"""What a step of a mode costs: seconds, peak memory, and positions of text that the language model reads.

    python -m klm_utils.course.lessons.cost '{"mode": "full", "objective": "label", "grouped": false}'

prints one line of JSON. Each measurement has a process of its own, since a peak of memory is a peak of a process.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from klm_utils.data import load_dataset
from klm_utils.data.splits import Split
from klm_utils.data.splits import split as split_of
from klm_utils.embedding import modes
from klm_utils.embedding.backbones import trim_vocabulary
from klm_utils.embedding.encoder import TextEncoder
from klm_utils.errors import ConfigError, check_whole
from klm_utils.knowledge.templates import item_texts
from klm_utils.models.recommender import KLMRecommender
from klm_utils.training import objectives
from klm_utils.training.config import TrainConfig
from klm_utils.training.loop import step
from klm_utils.training.resume import Run

ROWS = 128  # interactions a step, for the loop over interactions


@contextmanager
def positions_read(model: torch.nn.Module) -> Iterator[list[int]]:
    """A list of which the only entry counts the positions of text, padding included, that the model reads meanwhile."""
    count = [0]

    def add(module, args, kwargs):
        count[0] += (kwargs["input_ids"] if "input_ids" in kwargs else args[0]).numel()

    hook = model.register_forward_pre_hook(add, with_kwargs=True)
    try:
        yield count
    finally:
        hook.remove()


@contextmanager
def kept_for_the_way_back(model: torch.nn.Module) -> Iterator[dict[int, int]]:
    """Bytes of each piece of memory that autograd keeps meanwhile, by its address; the model's own weights do not
    count."""
    own, kept = {p.untyped_storage().data_ptr() for p in model.parameters()}, {}

    def note(tensor: Tensor) -> Tensor:
        piece = tensor.untyped_storage()
        if piece.data_ptr() not in own:
            kept[piece.data_ptr()] = piece.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        yield kept


def measure(
    mode: str = "full",
    tuning: dict[str, Any] | None = None,
    name: str = "minilm",
    objective: str = "interaction",
    grouped: bool = True,
    trimmed: bool = False,
    steps: int = 3,
) -> dict[str, Any]:
    """Train some steps on MovieLens-100K, cold_item, in this process.

    Args:
        mode, tuning: as for `KLMRecommender.from_split`.
        name: of the language model.
        objective: as for `TrainConfig`.
        grouped: each step reads a set of items once and takes all their rows or pairs along. Else (objective "label")
            a step takes `ROWS` rows of the log and reads the text of each, as often as it occurs, as the article does.
        trimmed: with the vocabulary cut to the tokens of the texts.
        steps: to time, after one to warm up.

    Raises:
        ConfigError: no steps; `grouped` off for a frozen model, or for "interaction".

    Returns:
        trained, parameters: of the language model; seconds, positions: of an epoch, from those steps; kept_mb: of
        what the first step keeps on its way to the loss, for the way back; peak_mb: of resident memory, of the whole
        process; and the arguments.
    """
    if not grouped and (mode == "frozen" or objective != "label"):
        what = "the loop over interactions is that of a trained language model and the rows of the log"
        expected = 'objective="label", and a mode that trains the language model'
        raise ConfigError(what, "measure(grouped=False)", (mode, objective), expected, "or grouped=True")
    steps = check_whole("steps", steps)
    said: dict[str, object] = {"mode": mode, "tuning": tuning or {}, "name": name, "objective": objective}
    said |= {"grouped": grouped, "trimmed": trimmed}
    split = split_of(load_dataset("movielens-100k"), "cold_item", seed=0)
    model = _model(split, name, trimmed, mode, tuning)
    config = TrainConfig(objective=objective, head_epochs=0).of(mode, split)
    task = objectives.task(model, split, config) if grouped else RowByRow(model, split, config)
    run, draw = Run(model, task, config), torch.Generator().manual_seed(0)
    run.begin()
    model.train()
    batches = task.batches(draw)
    with kept_for_the_way_back(model) as kept:
        step(run, batches[0], draw)
    with positions_read(model.texts.model if model.texts else torch.nn.Identity()) as count:
        start = time.perf_counter()
        for batch in batches[1 : steps + 1]:
            step(run, batch, draw)
    share = task.n / sum(len(batch) for batch in batches[1 : steps + 1])
    seconds = (time.perf_counter() - start) * share
    trained, parameters = modes.counts(model.texts.model) if model.texts else (0, 0)
    return {
        **said,
        "trained": trained,
        "parameters": parameters,
        "seconds": round(seconds, 2),
        "positions": round(count[0] * share),
        "kept_mb": round(sum(kept.values()) / 2**20),
        "peak_mb": round(peak()),
    }


def in_a_process_of_its_own(environment: dict[str, str] | None = None, **arguments: Any) -> dict[str, Any]:
    """`measure` in a new process, with these variables of its environment besides ours."""
    command = [sys.executable, "-m", "klm_utils.course.lessons.cost", json.dumps(arguments)]
    run = subprocess.run(command, capture_output=True, text=True, env=os.environ | (environment or {}))
    if run.returncode:
        found, remedy = run.stderr.strip()[-1000:], "see the error of the process"
        raise ConfigError("the measurement failed", f"cost {arguments}", found, "a line of JSON", remedy)
    return json.loads(run.stdout.splitlines()[-1])


def _model(split: Split, name: str, trimmed: bool, mode: str, tuning: dict[str, Any] | None) -> KLMRecommender:
    """An untrained model; the encoder that it copied is gone, so that it counts once in the memory."""
    ds, encoder = split.dataset, TextEncoder.from_pretrained(name, device="cpu")
    if trimmed:
        tokenizer, model = trim_vocabulary(encoder.model, encoder.tokenizer, item_texts(ds))
        encoder = TextEncoder(tokenizer, model, name, device="cpu")
    return KLMRecommender.from_split(split, encoder=encoder, mode=mode, tuning=tuning)


class RowByRow(objectives.Rows):
    """The loop over interactions: the text of a row's item is read for that row, whoever else has it in the batch."""

    def __init__(self, model: KLMRecommender, split: Split, config: TrainConfig):
        super().__init__(model, split, config)
        self.by_item, self.n, self.batch = False, len(self.users), ROWS

    def items(self, at: Tensor) -> Tensor:
        return self.row_items[at]

    def loss(self, at: Tensor, text: Tensor | None, draw: torch.Generator) -> Tensor:
        return self.error(self.model(self.users[at], self.row_items[at], text, draw), self.target[at])


def peak() -> float:
    """Largest resident memory of this process so far, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux: getrusage also counts the process that started this one
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return psutil.Process().memory_info().peak_wset / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    print(json.dumps(measure(**json.loads(sys.argv[1]))))
