"""Right, unfinished and wrong answers to the exercises of chapter 5, each with what its checker is to say."""

import torch
from torch import nn

from klm_utils.course.exercises import DONE, STUB, ch05


def wants(layers, places):
    for n, layer in enumerate(layers):
        layer.requires_grad_(n in places)


def moved(layers, step, equal=torch.equal, copy=lambda w: w.detach().clone()):
    before = [[copy(w) for w in layer.parameters()] for layer in layers]
    step()
    return [
        n
        for n, layer in enumerate(layers)
        if not all(equal(a, b) for a, b in zip(before[n], layer.parameters(), strict=True))
    ]


def freezing(places, **how):
    """Layers in these places want a gradient, and the proof is made in this way."""
    return lambda layers, last, step: (wants(layers, places), moved(layers, step, **how))[1]


def by_state(layers, last, step):
    wants(layers, range(len(layers) - last, len(layers)))
    before = [{k: v.clone() for k, v in layer.state_dict().items()} for layer in layers]
    step()
    return [n for n, x in enumerate(layers) if any((x.state_dict()[k] != v).any() for k, v in before[n].items())]


def by_flag(layers, last, step):
    wants(layers, range(len(layers) - last, len(layers)))
    step()
    return [n for n, layer in enumerate(layers) if layer.weight.requires_grad]


def stayed(layers, last, step):
    changed = ch05.freeze(layers, last, step)
    return [n for n in range(len(layers)) if n not in changed]


freezes = [
    (ch05.freeze, DONE),
    (by_state, DONE),
    (lambda layers, last, step: [], STUB),
    (lambda layers, last, step: layers.requires_grad_(False), "it raises AttributeError"),
    (lambda layers, last, step: (wants(layers, [2, 3]), [2, 3])[1], "it was called 0 times"),
    (lambda layers, last, step: (step(), ch05.freeze(layers, last, step))[1], "it was called 2 times"),
    (freezing([0, 1]), "nearest to the task"),
    (freezing([0, 1, 2, 3]), "still wants a gradient"),
    (freezing([3]), "these want a gradient"),
    (freezing([2, 3], copy=lambda w: w), "a reference moves along"),
    (freezing([2, 3], equal=lambda a, b: torch.allclose(a, b, atol=1e-3)), "compare to the bit"),
    (stayed, "these are the layers that stayed"),
    (lambda *a: [n + 1 for n in ch05.freeze(*a)], "expected [2, 3]"),
    (lambda *a: len(ch05.freeze(*a)), "a list of the places that changed, got 2"),
    (lambda *a: set(ch05.freeze(*a)), "a list of the places that changed, got {2, 3}"),
    (by_flag, "compare the weights, to the bit"),
    (freezing([2, 3]), "with last = 1 only layer 3"),
]

loras = [
    (ch05.lora, DONE),
    (lambda x, W, b, A, B, alpha: x @ (W + alpha / A.shape[0] * B @ A).T + b, DONE),
    (lambda x, W, b, A, B, alpha: nn.functional.linear(x, W, b), STUB),
    (lambda x, W, b, A, B, alpha: x @ A @ B, "it raises RuntimeError"),
    (lambda x, W, b, A, B, alpha: x @ (W + B @ A).T + b, "alpha / r is missing"),
    (lambda x, W, b, A, B, alpha: x @ (W + alpha * B @ A).T + b, "divide alpha by the rank"),
    (lambda x, W, b, A, B, alpha: alpha / len(A) * x @ A.T @ B.T, "do not replace the map"),
    (lambda x, W, b, A, B, alpha: x @ (W + alpha / len(A) * B @ A).T, "the bias is lost"),
    (lambda x, W, b, A, B, alpha: x @ (W + alpha / A.shape[1] * B @ A).T + b, "the smaller side of A"),
    (lambda x, W, b, A, B, alpha: x @ W.T + b + alpha / 2 * x @ A.T @ B.T, "r is not always 2"),
    (lambda x, W, b, A, B, alpha: ch05.lora(x, W, b, A, B, alpha) + 1, "with B = 0 it must be the map itself"),
    (lambda x, W, b, A, B, alpha: ch05.lora(x, W, b, A, 1.5 * B, alpha), "expected ["),
]


class Block(nn.Module):
    """A learner's block, in which things can be left out."""

    def __init__(self, width, inner, skip=True, bend=nn.functional.gelu, zero=("up",), bias=True, out=None):
        super().__init__()
        self.down, self.up = nn.Linear(width, inner, bias=bias), nn.Linear(inner, out or width, bias=bias)
        for name in zero:
            for weight in getattr(self, name).parameters():
                nn.init.zeros_(weight)
        self.skip, self.bend = skip, bend

    def forward(self, h):
        return self.skip * h + self.up(self.bend(self.down(h)))


class Scaled(Block):
    """Its own gate is zero at the start, but h is under it too."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.up.bias = None
        self.scale = nn.Parameter(torch.ones(sizes[0]))

    def forward(self, h):
        return self.scale * h + self.up(nn.functional.gelu(self.down(h)))


class Behind(Block):
    def forward(self, h):
        return h + nn.functional.gelu(self.up(self.down(h)))


class Before(Block):
    def forward(self, h):
        return h + self.up(self.down(nn.functional.gelu(h)))


class Transposed(nn.Module):
    """Its maps are kept the other way round."""

    def __init__(self, width, inner):
        super().__init__()
        self.down, self.up = nn.Parameter(torch.randn(width, inner)), nn.Parameter(torch.zeros(inner, width))
        self.b, self.c = nn.Parameter(torch.zeros(inner)), nn.Parameter(torch.zeros(width))

    def forward(self, h):
        return h + nn.functional.silu(h @ self.down + self.b) @ self.up + self.c


class NoBias(Block):
    """Only the matrix of `up` starts at zero."""

    def __init__(self, *sizes):
        super().__init__(*sizes, zero=())
        nn.init.zeros_(self.up.weight)


class Broken(Block):
    def forward(self, h):
        return h @ self.down.weight


class Narrow(Block):
    def forward(self, h):
        return self.up(self.down(h))


def block(**options):
    return lambda width, inner: Block(width, inner, **options)


houlsbys = [
    (ch05.Houlsby, DONE),
    (block(bend=torch.relu), DONE),
    (block(bend=torch.tanh), DONE),
    (Transposed, DONE),
    (lambda width, inner: nn.Identity(), STUB),
    (lambda width, inner: nn.Linear(width), "it raises TypeError"),
    (lambda width, inner: lambda h: h, "return a torch module"),
    (Broken, "calling it raises RuntimeError"),
    (lambda width, inner: Narrow(width, inner, out=3), "of width 6, got shape (4, 3)"),
    (block(skip=False), "the way past the block is missing"),
    (block(zero=()), "let `up` start at zero"),
    (NoBias, "its bias too"),
    (block(bias=False), "32 numbers to train, not 24"),
    (block(zero=("down", "up")), "neither ever moves"),
    (Scaled, "it must be the identity"),
    (block(bend=lambda x: x), "something must bend"),
    (Behind, "gelu stands between the maps"),
    (Before, "gelu stands between the maps"),
]


def row_by_row(items, read, users):
    return (read(items) * users).sum(1)


def one_by_one(items, read, users):
    vectors = {int(item): read(item[None])[0] for item in items.unique()}
    return torch.stack([vectors[int(item)] @ user for item, user in zip(items, users, strict=True)])


def twice(items, read, users):
    read(items.unique())
    return ch05.grouped(items, read, users)


def by_hand(items, read, users):
    some = sorted(set(items.tolist()))
    vectors = read(torch.tensor(some))
    return (vectors[[some.index(item) for item in items.tolist()]] * users).sum(1)


groupeds = [
    (ch05.grouped, DONE),
    (by_hand, DONE),
    (row_by_row, STUB),
    (lambda items, read, users: read(items.unique()) * users, "it raises RuntimeError"),
    (lambda items, read, users: (read(items.unique()) @ users.T).sum(1), "expected shape (7,)"),
    (lambda items, read, users: users.sum(1), "nothing was read"),
    (lambda items, read, users: ch05.grouped(items.sort().values, read, users), "bring each vector to its rows"),
    (twice, "6 texts were read for 3"),
    (one_by_one, "read was called 3 times"),
    (lambda items, read, users: ch05.grouped(items, lambda some: read(some).detach(), users), "no detach"),
]

TABLES = {
    ch05.check_freeze: freezes,
    ch05.check_lora: loras,
    ch05.check_houlsby: houlsbys,
    ch05.check_grouped: groupeds,
}
