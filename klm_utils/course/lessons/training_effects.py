"""What training does to the language model of notebook 05: which weights move, in how many directions, and which films
come near each other."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from scipy import stats

from klm_utils.data.splits import Split
from klm_utils.embedding.encoder import TextEncoder
from klm_utils.models.recommender import KLMRecommender
from klm_utils.training.config import TrainConfig


def moved(
    mode: str, split: Split, encoder: TextEncoder, train: Callable[[KLMRecommender, TrainConfig], None]
) -> Mapping[str, int | bool]:
    """What a training moves in the language model, to the bit, and whether it is just what the mode says."""
    model = KLMRecommender.from_split(split, encoder=encoder, mode=mode)
    weights = dict((model.texts.model if model.texts else encoder.model).named_parameters())
    was = {name: weight.detach().clone() for name, weight in weights.items()}
    train(model, TrainConfig(objective="interaction").of(mode))
    found = {name for name, weight in weights.items() if not torch.equal(weight, was[name])}
    wanted = {name for name, weight in weights.items() if weight.requires_grad and mode != "frozen"}
    numbers = sum(weights[name].numel() for name in found)
    return {
        "tensors": len(weights),
        "moved": len(found),
        "numbers in them": numbers,
        "just those of the mode": found == wanted,
    }


def change(before: torch.nn.Module, after: torch.nn.Module) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """The matrices of the six layers: name -> (as it was, what training added), each float [out, in]."""
    old = dict(before.named_parameters())
    return {
        name: (old[name].detach(), (weight - old[name]).detach())
        for name, weight in after.named_parameters()
        if ".layer." in name and weight.ndim == 2
    }


def held_by_first(matrix: torch.Tensor) -> np.ndarray:
    """Share of the squared norm of a matrix that its first 1, 2, ... singular directions hold; zeros of a zero one."""
    squares = torch.linalg.svdvals(matrix.double()).square().numpy()
    return squares.cumsum() / max(squares.sum(), np.finfo(float).tiny)


def directions(before: torch.nn.Module, after: torch.nn.Module) -> dict[str, np.ndarray]:
    """`held_by_first` as the mean of the square matrices of the layers, of what training added and of themselves."""
    square = [pair for pair in change(before, after).values() if len(set(pair[0].shape)) == 1]
    of_all = {"what training added": [held_by_first(added) for _, added in square]}
    of_all["the matrix itself"] = [held_by_first(matrix) for matrix, _ in square]
    return {name: np.mean(shares, axis=0) for name, shares in of_all.items()}


def first_step(lora: Callable[..., torch.Tensor], dense: torch.nn.Linear, rank: int = 8) -> pd.DataFrame:
    """How far LoRA moves a layer's output at the start, and which of its matrices has a gradient; a row per start.

    Args:
        lora: (x, W, b, A, B, alpha) -> the output.
    """
    W, b = dense.weight.detach(), dense.bias.detach()
    draw, rows = torch.Generator().manual_seed(0), dict[str, list]()
    x = torch.randn(5, W.shape[1], generator=draw)
    for start, size in (("A random, B = 0", 0.05), ("both 0", 0.0)):
        A = (size * torch.randn(rank, W.shape[1], generator=draw)).requires_grad_()
        B = torch.zeros(W.shape[0], rank, requires_grad=True)
        out = lora(x, W, b, A, B, 2 * rank)
        loss = out.square().sum() + 0 * (A.sum() + B.sum())  # the zeros: for an answer without A and B
        slopes = torch.autograd.grad(loss, [A, B])
        moves = (out - (x @ W.T + b)).abs().max().item()
        rows[start] = [moves, *("not 0" if slope.any() else "0" for slope in slopes)]
    columns = ["output moves by", "gradient of A", "gradient of B"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def nearest(vectors: torch.Tensor, place: int, titles: Sequence[str], k: int = 6) -> list[str]:
    """The titles of the k vectors with the highest cosine to that at `place`, float [items, width]."""
    unit = torch.nn.functional.normalize(vectors.double(), dim=1)
    order = (-(unit @ unit[place])).argsort(stable=True).tolist()
    return [titles[at] for at in order if at != place][:k]


def agreement(vectors: torch.Tensor, split: Split) -> dict[str, float]:
    """Do near texts have the same viewers? Spearman's correlation, over all pairs of new films, of the cosine of their
    texts with the cosine of their viewers (one entry per user, 1 if they rated the film).

    Args:
        vectors: float [items, width], of all items of `split.dataset`.

    Returns:
        "all pairs": that correlation. "fame alone": the same of the rarer film's number of viewers, in place of the
        texts. "beyond fame": the partial correlation of the first, given that number.
    """
    rows = split.dataset.interactions
    rows = rows[rows["item_id"].isin(split.test["item_id"])]
    seen = pd.crosstab(rows["item_id"], rows["user_id"]).clip(upper=1)
    places = split.dataset.items.index.get_indexer(seen.index)
    both = [torch.nn.functional.normalize(x.double(), dim=1) for x in (vectors[places], torch.tensor(seen.to_numpy()))]
    above = torch.triu_indices(len(places), len(places), offset=1)
    texts, viewers = ((x @ x.T)[*above].cpu().numpy() for x in both)
    fame = np.minimum(*seen.sum(axis=1).to_numpy()[above.numpy()])
    near, by_fame, by_text = (stats.spearmanr(*p).statistic for p in ((texts, viewers), (fame, viewers), (texts, fame)))
    beyond = (near - by_fame * by_text) / np.sqrt((1 - by_fame**2) * (1 - by_text**2))
    return {"all pairs": float(near), "fame alone": float(by_fame), "beyond fame": float(beyond)}
