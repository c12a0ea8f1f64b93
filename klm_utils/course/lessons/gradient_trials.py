"""Notebook 04, the derivation: what its cells compute by hand, by algebra and on models small enough to follow."""

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import sympy as sp  # type: ignore[import-untyped]
import torch
from torch.nn import functional as F

from klm_utils import losses
from klm_utils.embedding import masked_mean
from klm_utils.embedding.encoder import TextEncoder
from klm_utils.evaluation import metrics

Tensor = torch.Tensor
BOUGHT = {"篮球": 0.02, "电影": 0.06, "科技": 0.13, "age / 100": 0.25}  # the reader's example, rounded, see `cosines`
TEXTS = [
    "toy story animation comedy",
    "the godfather crime drama",
    "star wars action romance adventure",
    "fargo crime drama",
    "pulp fiction crime drama",
    "toy story animation comedy",
]
SMALL: dict[str, Any] = {  # a BERT with random weights
    "vocab_size": 30, "max_position_embeddings": 12, "initializer_range": 0.5, "hidden_size": 8, "num_hidden_layers": 2,
    "num_attention_heads": 2, "intermediate_size": 16,
}  # fmt: skip


def cosines(encoder: TextEncoder, thing: str, words: Sequence[str], corpus: Sequence[str]) -> list[float]:
    """How near a thing is to each word, after centring on the mean of a corpus of texts."""
    first, *others = encoder.encode([thing, *words]) - encoder.encode(list(corpus)).mean(0)
    return [float(first @ other / np.linalg.norm(first) / np.linalg.norm(other)) for other in others]


def proved(line: str, left: sp.Expr, right: sp.Expr, at: Mapping[sp.Symbol, float]) -> None:
    """Print whether both sides are equal for all values (sympy brings left - right to 0), and the left one at a point.

    Where sympy does not reach 0, the sides are wrong only if they differ at the point. Logarithms are taken apart as if
    their arguments were positive, which p and 1 - p are.
    """
    holds = sp.simplify(sp.expand_log(left - right, force=True)) == 0
    here, gap = f"{float(left.subs(at)):.3g}", (left - right).subs(at)
    differ = gap.is_number and abs(float(gap)) > 1e-9
    said = "proved" if holds else "WRONG: the two sides differ" if differ else "not proved"
    print(f"{line:34} {said}; here it is {here}")


def as_printed(z: Tensor, y: Tensor) -> Tensor:
    """The cross-entropy of each row as a book prints it: through p, which rounds to 0 or 1."""
    p = torch.sigmoid(z)
    return -(y * p.log() + (1 - y) * (1 - p).log())


def with_kinks(z: Tensor, y: Tensor) -> Tensor:
    """The loss of each row as max(z, 0) - y z + log(1 + exp(-|z|)): its slope by autograd is wrong at z = 0."""
    return z.clamp_min(0) - y * z + torch.log1p(torch.exp(-z.abs()))


def buyers(seed: int, rows: int = 40, columns: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    """(x [rows, columns], w [columns], y [rows]) of a shop that is drawn, float64; y follows sigmoid(x w)."""
    draw = torch.Generator().manual_seed(seed)
    x, w = (torch.randn(size, generator=draw, dtype=torch.float64) for size in ((rows, columns), (columns,)))
    y = (torch.rand(rows, generator=draw) < torch.sigmoid(x @ w)).double()
    return x, w, y


def difference_errors(z: float = 0.8) -> pd.DataFrame:
    """Relative error of central differences of log(1 + exp(-z)), a row per step h, a column per precision."""
    steps, found = np.logspace(-12, 0, 25), {}
    true = float(torch.sigmoid(torch.tensor(z, dtype=torch.float64))) - 1
    for dtype in (torch.float32, torch.float64):
        at = torch.tensor([[z + sign * h for sign in (1, -1)] for h in steps], dtype=dtype)
        value, width = -F.logsigmoid(at), at[:, 0] - at[:, 1]
        slope = torch.where(width == 0, torch.zeros_like(width), (value[:, 0] - value[:, 1]) / width)
        found[str(dtype).removeprefix("torch.")] = (slope.double() / true - 1).abs().numpy()
    return pd.DataFrame(found, index=steps)


def in_precisions(ways: Mapping[str, Callable[[Tensor, Tensor], Tensor]]) -> pd.DataFrame:
    """Loss and slope of each way to write the loss, in three precisions, at five places.

    `true` and `true_slope` are those of the loss itself.
    """
    rows = []
    for way, loss in ways.items():
        for name in ("float32", "bfloat16", "float16"):
            for z, y in ((0.0, 1.0), (12.0, 0.0), (20.0, 0.0), (200.0, 0.0), (-120.0, 1.0)):
                at = torch.tensor([z], dtype=getattr(torch, name), requires_grad=True)
                value = loss(at, torch.full_like(at, y).detach())
                (slope,) = torch.autograd.grad(value.sum(), at, allow_unused=True)
                slope = torch.zeros(1) if slope is None else slope
                true = float(np.logaddexp(0, z) - y * z), float(np.exp(-np.logaddexp(0, -z)) - y)
                rows.append((way, name, f"z = {z:.0f}, y = {y:.0f}", value.item(), slope.item(), *true))
    return pd.DataFrame(rows, columns=["way", "precision", "place", "loss", "slope", "true", "true_slope"])


def tiny_recommender(seed: int) -> SimpleNamespace:
    """A recommender with a BERT of two layers and random weights, in float64, and six rows of films for it.

    Returns:
        words [6 lists], ids and mask [6, t], items, users, y [6]; heads; params: {name: tensor}, as
        `backward.recommender` wants them; forward(): autograd's way, {stop: tensor}, the loss last, with gradients
        that can be read after backward().
    """
    from transformers import BertConfig, BertModel

    words = [text.split() for text in TEXTS]
    number = {word: k + 1 for k, word in enumerate(dict.fromkeys(w for text in words for w in text))}
    ids = torch.zeros(len(words), max(map(len, words)), dtype=torch.long)
    for row, text in enumerate(words):
        ids[row, : len(text)] = torch.tensor([number[word] for word in text])
    shape = {"projection.weight": (4, 8), "projection.bias": (4,), "gate.weight": (4, 8), "gate.bias": (4,)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        bert = BertModel(BertConfig(**SMALL), add_pooling_layer=False).double().eval()
        params = dict(bert.named_parameters())
        for name, size in (shape | {"items": (5, 4), "users": (3, 4)}).items():
            params[name] = (0.5 * torch.randn(size)).double().requires_grad_()
    tiny = SimpleNamespace(words=words, ids=ids, mask=(ids > 0).long(), params=params, heads=2)
    tiny.items, tiny.users = torch.tensor([0, 1, 2, 3, 4, 0]), torch.tensor([0, 1, 2, 0, 1, 1])
    tiny.y = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0, 1.0]).double()
    tiny.forward = lambda: _stops(bert, tiny)
    return tiny


def _stops(bert: torch.nn.Module, tiny: SimpleNamespace) -> dict[str, Tensor]:
    p = tiny.params
    token = F.embedding(tiny.ids, p["embeddings.word_embeddings.weight"])
    hidden = bert(inputs_embeds=token, attention_mask=tiny.mask).last_hidden_state
    mean = masked_mean(hidden, tiny.mask)
    text = F.linear(mean, p["projection.weight"], p["projection.bias"])
    item = p["items"][tiny.items]
    gate = torch.sigmoid(F.linear(torch.cat([item, text], -1), p["gate.weight"], p["gate.bias"]))
    fused = gate * item + (1 - gate) * text
    z = (p["users"][tiny.users] * fused).sum(-1)
    stops = {"word": token, "BERT": hidden, "mean": mean, "text": text, "gate": gate, "fused": fused}
    stops |= {"z": z, "p": torch.sigmoid(z)}
    for stop in stops.values():
        stop.retain_grad()
    stops["loss"] = -(tiny.y * stops["p"].log() + (1 - tiny.y) * (1 - stops["p"]).log()).mean()
    return stops


def one_row(stops: Mapping[str, Tensor], row: int, names: Mapping[str, str]) -> list[tuple[str, float, float]]:
    """(name, value, gradient) of the first number of a row at each stop, for `gradient_pictures.chain`."""
    found = []
    for stop, name in names.items():
        value = stops[stop]
        if stop == "loss":
            found.append((name, value.item(), 1.0))
        elif (slope := value.grad) is not None:
            at = (row, *[0] * (value.ndim - 1))
            found.append((name, value[at].item(), slope[at].item()))
    return found


def loss_cases(seed: int) -> dict[str, tuple[Callable, Callable, tuple]]:
    """{name: (loss, its gradient by hand, arguments)} of the eight losses, on six rows that are drawn."""
    draw = torch.Generator().manual_seed(seed)
    z, other = (torch.randn(6, generator=draw, dtype=torch.float64) for _ in range(2))
    square = torch.randn(6, 6, generator=draw, dtype=torch.float64)
    grade, films = torch.randint(5, (6,), generator=draw), torch.tensor([7, 8, 7, 9, 3, 8])
    tau = torch.tensor([-2.0, -0.5, 0.1, 3.0]).double()
    log_q = torch.randn(6, generator=draw, dtype=torch.float64)
    given = {
        "bce_with_logits": (z, (grade > 2).double()),
        "bce_with_logits, many labels": (square, (square.roll(1) > 0).double()),
        "squared_error": (z, grade.double()),
        "ordinal": (z, grade, tau),
        "bpr": (z, other),
        "cross_entropy": (square, grade),
        "sampled_softmax": (square, log_q),
        "info_nce": (square, log_q),
    }
    cases = {}
    for name, arguments in given.items():
        both = (getattr(losses, name.split(",")[0] + end) for end in ("", "_grad"))
        more = {"items": films} if name == "info_nce" else {}
        loss, grad = ((lambda *a, f=f, more=more: f(*a, **more)) for f in both)
        cases[name] = (loss, grad, arguments)
    return cases


def descend(start: tuple[float, float], steps: int = 300, rate: float = 0.5, share: float = 0.8) -> np.ndarray:
    """Gradient descent on the loss of z = a b, where a share of the labels is 1; the points, [steps + 1, 2]."""
    path = [torch.tensor(start, dtype=torch.float64)]
    for _ in range(steps):
        point = path[-1].clone().requires_grad_()
        z = point[0] * point[1]
        loss = losses.bce_with_logits(z[None], torch.full((1,), share, dtype=torch.float64))
        (slope,) = torch.autograd.grad(loss, point)
        path.append((point - rate * slope).detach())
    return torch.stack(path).numpy()


def one_output(seed: int) -> dict[str, float]:
    """Loss that transformers' classifier with one output computes, beside squared error and BCE of that output."""
    from transformers import BertConfig, BertForSequenceClassification

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = BertConfig(**SMALL | {"num_labels": 1})
        classifier, y = BertForSequenceClassification(config).eval(), torch.tensor([1.0, 0.0, 0.0, 1.0])
        with torch.no_grad():
            out = classifier(input_ids=torch.randint(1, 30, (4, 6)), labels=y)
    z = out.logits[:, 0]
    own = {"the classifier's loss": out.loss, "squared error": F.mse_loss(z, y), "BCE": losses.bce_with_logits(z, y)}
    return {name: value.item() for name, value in own.items()}


def new_head(always_one: bool, rate: float, seed: int, steps: int = 200, times: int = 20) -> dict[str, float]:
    """A new linear head trained by AdamW on drawn data, `times` over; means but for `largest move` and the ends of AUC.

    Args:
        always_one: train on the label 1 alone. rate: the learning rate.

    Returns:
        loss before and after, the largest move of any weight, the bias after it, and the mean, least and largest AUC on
        the true labels.
    """
    draw, rows = torch.Generator().manual_seed(seed), []
    for _ in range(times):
        x, w = torch.randn(1000, 8, generator=draw), 0.1 * torch.randn(8, generator=draw)
        truly = (torch.rand(1000, generator=draw) < torch.sigmoid(2 * x[:, 0] - x[:, 1])).float()
        y, start, bias = torch.ones(1000) if always_one else truly, w.clone(), torch.zeros((), requires_grad=True)
        optimizer, seen = torch.optim.AdamW([w.requires_grad_(), bias], rate), []
        for _ in range(steps):
            loss = losses.bce_with_logits(x @ w + bias, y)
            seen.append(loss.item())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        scores = (x @ w).detach().numpy()
        moves = (w - start).abs().max().item()
        rows.append((seen[0], seen[-1], moves, bias.item(), metrics.auc(truly.numpy(), scores)))
    first, last, moved, biases, auc = np.array(rows).T
    found = {"loss before": first.mean(), "loss after": last.mean(), "largest move": moved.max(), "bias": biases.mean()}
    found["AUC"] = auc.mean()
    return {name: float(value) for name, value in (found | {"least AUC": auc.min(), "largest AUC": auc.max()}).items()}
