"""fit(): the training loop, in plain torch. Its heart is `step`."""

from __future__ import annotations

import time
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch

from klm_utils import progress
from klm_utils.data.splits import Split
from klm_utils.errors import ConfigError, check_kind
from klm_utils.models.recommender import KLMRecommender
from klm_utils.threads import one_thread
from klm_utils.training import distributed, objectives
from klm_utils.training.config import TrainConfig
from klm_utils.training.curves import History, Watch, curves_in, watched
from klm_utils.training.optimizer import copied, follow, precision, put, warm_up
from klm_utils.training.resume import RUN, Run, usable

SMALL = 10_000_000  # scores of all pairs up to which one thread is as fast as several, where a score is a dot product


def fit(
    model: KLMRecommender,
    split: Split,
    config: TrainConfig | None = None,
    checkpoint_dir: str | PathLike[str] | None = None,
    *,
    log_dir: str | PathLike[str] | None = None,
    watch: Watch | None = None,
) -> History:
    """Train a model on `split.train`, with the weights of the epoch that is best on `split.valid` in the end.

    Each call starts from the weights that the model was built or loaded with, so a second one gives the same model
    again. What ends it early (Ctrl-C, a full disk, a loss that is no number) is raised again: before the first epoch is
    over, the model is then as it was before the call; later it has the best weights so far, can be used, and says in
    its `name` that it is unfinished. Nothing but the model is changed: neither the split nor the encoder that the model
    was built with nor torch's global random state nor its number of threads (see `klm_utils.threads`). Under
    `torchrun` the processes share each step, see `klm_utils.training.distributed`.

    For a final model take `split.all_in_train()`, and as many epochs as valid has found best: it has no valid.

    Args:
        model, split: the model from `KLMRecommender.from_split(split, ...)`, and the same split.
        config: see `TrainConfig`.
        checkpoint_dir: a folder to write the run to after each epoch. If it holds a run of the same model, split and
            config, that run goes on, and ends as if it had never stopped.
        log_dir: a folder for TensorBoard, which then shows the columns of `History.epochs` as curves.
        watch: called with the model after each epoch, as valid has met it, with the threads of the caller; the
            numbers it returns become columns of `History.epochs`. They decide nothing, but {"stop": True} ends the
            training.

    Raises:
        ConfigError, DataError: as `klm_utils.training.objectives.task`; nobody chose something new in valid; the loss
            is no longer a finite number; tensorboard is missing.
        CheckpointError: the folder holds another run, a damaged one, or cannot be written.
    """
    config = config or TrainConfig()
    given = {"model": (model, KLMRecommender), "split": (split, Split), "config": (config, TrainConfig)}
    for name, (value, kind) in given.items():
        check_kind(f"fit({name})", value, kind, f"a {kind.__name__}", "klm.fit(model, split, klm.TrainConfig(...))")
    config = config.of(model.about["mode"], split)
    task = objectives.task(model, split, config)
    if task.metric:
        task.valid()  # says now, and not after the first epoch, that valid has nobody to rank for
    path = None if checkpoint_dir is None else Path(checkpoint_dir).expanduser() / RUN
    run = Run(model, task, config)
    with usable(run):
        with curves_in(log_dir) as curves:
            run.begin(path)
            while not run.history.stopped:
                curves(epoch(run, watch))
                if path and distributed.first():
                    run.save(path)
        run.finish()
    return run.history


def epoch(run: Run, watch: Watch | None) -> dict[str, Any]:
    """All of train once, then valid; the new row of the history."""
    model, task, number, start = run.model, run.task, len(run.rows) + 1, time.perf_counter()
    small = model.fusion.full_matrix and len(model.users) * len(model.items) < SMALL
    with one_thread(small and not run.reading):
        row = {"epoch": number, "loss": learn(run, number), "valid": float("nan")}
        now = copied(run.weights)
        put(run.average, run.weights)  # what is measured, and kept if it is the best
        if task.metric:
            if run.reading:  # else the vectors are still those that the model was built with
                model.store(task.valid_items())
            row["valid"] = float(task.valid())
        row["seconds"] = time.perf_counter() - start
    if watch is not None:
        if run.reading:
            model.store()
        row |= watched(watch, model)
    put(now, run.weights)
    rows = [*run.rows, row]
    best = copied(run.average) if History(rows, task.metric, run.config).best_epoch == number else run.best
    run.rows, run.best = rows, best  # both or, after Ctrl-C, neither
    run.history.tell()
    return row


def learn(run: Run, number: int) -> float:
    """The steps of an epoch; the mean loss of all terms."""
    total, terms = 0.0, 0
    seed = (run.config.seed * 1_000_003 + number) % 2**63  # so that a resumed run draws the same
    draw = torch.Generator().manual_seed(seed)
    run.model.train()
    with torch.random.fork_rng():
        torch.manual_seed(seed + distributed.rank())  # of the dropout inside the language model
        for at, batch in enumerate(run.task.batches(draw)):
            if distributed.first() and run.config.verbose is None:
                progress.line(f"epoch {number}: {at * run.task.batch:,} of {run.task.n:,}", every=1.0)
            size = run.task.terms(batch)
            total, terms = total + step(run, batch, draw) * size, terms + size
    run.model.eval()
    length = sum(p.detach().square().sum().item() for p in run.weights.values())
    if not np.isfinite(total + length):  # length: the last step may be the one that went too far
        where, found = f"fit, epoch {number}", f"loss {total}, sum of squared weights {length}"
        remedy = f"lower lr, which is {run.config.lr}, or lr_text, which is {run.config.lr_text}"
        raise ConfigError("the loss or the weights are no longer finite", where, found, "finite numbers", remedy)
    return total / terms


def step(run: Run, batch: torch.Tensor, draw: torch.Generator) -> float:
    """One step of the optimiser; the loss of the batch before it."""
    model, task, config, optimizer = run.model, run.task, run.config, run.optimizer
    mine, loss = distributed.part(batch), torch.zeros((), device=model.device)
    optimizer.zero_grad()
    if len(mine):
        with precision(config.precision, model):
            text = model.read(task.items(mine)) if run.reading else None
            loss = task.loss(mine, text, draw) * (task.terms(mine) / task.terms(batch))
            if run.reading and config.mlm and model.texts:
                loss = loss + config.mlm * model.texts.masked_loss(task.items(mine), draw)
        loss.backward()
    loss = distributed.add_up(list(run.weights.values()), loss.detach())
    if config.clip:
        torch.nn.utils.clip_grad_norm_(run.weights.values(), config.clip)
    run.steps += 1
    warm_up(optimizer, run.steps, config.head_epochs * -(-task.n // task.batch), config.warmup)
    optimizer.step()
    follow(run.average, run.weights, run.steps, config.average)
    return loss.item()
