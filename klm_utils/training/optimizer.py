"""What a step of the loop uses: its precision, rates and decays of each kind of weight, and the average of weights."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from klm_utils.embedding import mlm
from klm_utils.models.recommender import KLMRecommender
from klm_utils.training.config import TrainConfig

Weights = dict[str, torch.Tensor]


def parameter_groups(model: KLMRecommender, config: TrainConfig) -> list[dict[str, Any]]:
    """What AdamW is given: each kind of weight of the fusion, and the trained ones of the language model.

    rate: the learning rate once warm; of_text: whether the group stands still in the head epochs.
    """
    kinds = [(w, config.lr, getattr(config, f"decay_{name}", 0.0), False) for name, w in model.fusion.groups().items()]
    if model.texts is not None:
        trained = [p for p in model.texts.model.parameters() if p.requires_grad]
        kinds.append((trained, config.lr_text, config.decay_text, True))
        if model.texts.head is not None:
            kinds.append((list(model.texts.head.parameters()), mlm.LR, config.decay_text, True))
    return [
        {"params": weights, "lr": rate, "rate": rate, "weight_decay": decay, "of_text": of_text}
        for weights, rate, decay, of_text in kinds
    ]


def precision(name: str, model: KLMRecommender) -> AbstractContextManager[Any]:
    """A context for the forward pass; name as in `TrainConfig`."""
    device = model.device if model.texts is None else model.texts.model.device
    half = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    if name == "bfloat16" or (name == "auto" and half):
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def warm_up(optimizer: torch.optim.Optimizer, step: int, head_steps: int, over: int) -> None:
    """Set the learning rates of a step, counted from 1; the language model's start to rise after the head's steps."""
    for group in optimizer.param_groups:
        since = step - (head_steps if group["of_text"] else 0)
        group["lr"] = group["rate"] * min(1.0, max(0, since) / (over + 1))


def copied(weights: Weights) -> Weights:
    """The same numbers, which stay when the weights change."""
    return {name: weight.detach().clone() for name, weight in weights.items()}


@torch.no_grad()
def put(values: Weights, weights: Weights) -> None:
    """Let the weights have these values."""
    for name, weight in weights.items():
        weight.copy_(values[name])


@torch.no_grad()
def follow(average: Weights, weights: Weights, step: int, keep: float) -> None:
    """Move a running average towards the weights; early on, when they run, it follows closely.

    Source: TensorFlow, ExponentialMovingAverage with num_updates.
    """
    keep = min(keep, step / (step + 9))
    for name, weight in weights.items():
        average[name].lerp_(weight, 1 - keep)
