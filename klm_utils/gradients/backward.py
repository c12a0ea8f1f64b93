"""Backpropagation by hand, from the loss of a recommender down to the token vectors of a BERT.

Each step is a function that returns its value and `back`, which takes the gradient of the loss in that value and
returns the one in the step's input. What belongs to parameters is added to `grads`, under the parameter's name, because
a parameter may be used more than once. No autograd anywhere. `parameters` are named as in transformers' `BertModel`, so
that its `state_dict()` can be passed.

Source: Vaswani et al. 2017, Attention is all you need, section 3; Devlin et al. 2019, BERT, section 3 (forward).
"""

import math
from collections.abc import Callable, Mapping

import torch

from klm_utils import losses

Tensor = torch.Tensor
Step = tuple[Tensor, Callable[[Tensor], Tensor]]


class Grads(dict):
    """{parameter: gradient}, to which each step adds its part."""

    def add(self, name: str, value: Tensor) -> None:
        """Sum up: a parameter that is used twice gets both gradients."""
        self[name] = self[name] + value if name in self else value


def linear(x: Tensor, p: Mapping[str, Tensor], name: str, grads: Grads) -> Step:
    """y = x W' + b, [..., in] -> [..., out]. Back: dx = dy W; dW = dy' x and db = dy, summed over all rows."""
    weight, bias = p[f"{name}.weight"], p[f"{name}.bias"]

    def back(dy):
        rows = dy.reshape(-1, dy.shape[-1])
        grads.add(f"{name}.weight", rows.T @ x.reshape(-1, x.shape[-1]))
        grads.add(f"{name}.bias", rows.sum(0))
        return dy @ weight

    return x @ weight.T + bias, back


def layer_norm(x: Tensor, p: Mapping[str, Tensor], name: str, grads: Grads, eps: float = 1e-12) -> Step:
    """y = w x^ + b with x^ = (x - mean) / s over the last axis.

    Back, with g = w dy: dx = (g - mean(g) - x^ mean(g x^)) / s: what moves the mean or the length of x moves nothing.
    """
    centred = x - x.mean(-1, keepdim=True)
    s = (centred.square().mean(-1, keepdim=True) + eps).sqrt()
    unit = centred / s

    def back(dy):
        grads.add(f"{name}.weight", (dy * unit).reshape(-1, x.shape[-1]).sum(0))
        grads.add(f"{name}.bias", dy.reshape(-1, x.shape[-1]).sum(0))
        g = dy * p[f"{name}.weight"]
        return (g - g.mean(-1, keepdim=True) - unit * (g * unit).mean(-1, keepdim=True)) / s

    return unit * p[f"{name}.weight"] + p[f"{name}.bias"], back


def gelu(x: Tensor) -> Step:
    """y = x P(x) with the normal distribution P, density f. Back: dx = (P(x) + x f(x)) dy."""
    below = 0.5 * (1 + torch.erf(x / math.sqrt(2)))
    density = torch.exp(-0.5 * x.square()) / math.sqrt(2 * math.pi)
    return x * below, lambda dy: (below + x * density) * dy


def attention(x: Tensor, mask: Tensor, p: Mapping[str, Tensor], name: str, heads: int, grads: Grads) -> Step:
    """y = A V in each head, A = softmax(Q K' / sqrt(d)), padding masked with -inf; [n, t, w] -> [n, t, w].

    mask: 0 at the tokens that nobody may read, [n, t]; or what each may not read, [n, t, t].

    Back: dV = A' dy, dA = dy V', dz = A (dA - sum(A dA)) through the softmax,
    dQ = dz K / sqrt(d), dK = dz' Q / sqrt(d).
    """
    n, t, width = x.shape
    scale = math.sqrt(width / heads)

    def parted(y):
        return y.reshape(n, t, heads, -1).transpose(1, 2)

    def joined(y):
        return y.transpose(1, 2).reshape(n, t, width)

    (q, q_back), (k, k_back), (v, v_back) = (
        linear(x, p, f"{name}.{part}", grads) for part in ("query", "key", "value")
    )
    q, k, v = parted(q), parted(k), parted(v)
    z = (q @ k.mT / scale).masked_fill(mask.reshape(n, 1, -1, t) == 0, -torch.inf)
    a = z.softmax(-1)

    def back(dy):
        dy = parted(dy)
        da = dy @ v.mT
        dz = a * (da - (a * da).sum(-1, keepdim=True)) / scale
        return q_back(joined(dz @ k)) + k_back(joined(dz.mT @ q)) + v_back(joined(a.mT @ dy))

    return joined(a @ v), back


def bert_layer(x: Tensor, mask: Tensor, p: Mapping[str, Tensor], name: str, heads: int, grads: Grads) -> Step:
    """Attention and a network per token, each followed by a sum with its input and a layer norm.

    Back: at a sum the gradient goes both ways, and where the ways meet again the two gradients are added.
    """
    y, attention_back = attention(x, mask, p, f"{name}.attention.self", heads, grads)
    y, dense_back = linear(y, p, f"{name}.attention.output.dense", grads)
    middle, middle_back = layer_norm(x + y, p, f"{name}.attention.output.LayerNorm", grads)
    y, wide_back = linear(middle, p, f"{name}.intermediate.dense", grads)
    y, gelu_back = gelu(y)
    y, narrow_back = linear(y, p, f"{name}.output.dense", grads)
    out, out_back = layer_norm(middle + y, p, f"{name}.output.LayerNorm", grads)

    def back(dout):
        d = out_back(dout)
        d = middle_back(d + wide_back(gelu_back(narrow_back(d))))
        return d + attention_back(dense_back(d))

    return out, back


def embeddings(ids: Tensor, p: Mapping[str, Tensor], grads: Grads) -> Step:
    """Token, place and segment vectors, summed and normed; int [n, t] -> [n, t, w]. Back ends here: returns dx.

    A row of the token table gets the sum of the gradients of all places where its token stands.
    """
    names = [f"embeddings.{kind}_embeddings.weight" for kind in ("word", "position", "token_type")]
    rows = ids, torch.arange(ids.shape[1]).expand_as(ids), torch.zeros_like(ids)
    word, place, segment = (p[name][row] for name, row in zip(names, rows, strict=True))
    y, norm_back = layer_norm(word + place + segment, p, "embeddings.LayerNorm", grads)

    def back(dy):
        dx = norm_back(dy)
        for name, row in zip(names, rows, strict=True):
            flat = dx.reshape(-1, dx.shape[-1])
            grads.add(name, torch.zeros_like(p[name]).index_add(0, row.reshape(-1), flat))
        return dx

    return y, back


def masked_mean(x: Tensor, mask: Tensor) -> Step:
    """v = mean over the tokens of each text, [n, t, w] -> [n, w]. Back: each token gets dv / tokens, padding 0."""
    share = mask.to(x.dtype)[:, :, None] / mask.sum(1)[:, None, None]
    return (x * share).sum(1), lambda dv: dv[:, None, :] * share


def gate(item: Tensor, text: Tensor, p: Mapping[str, Tensor], name: str, grads: Grads) -> Step:
    """v = g item + (1 - g) text with g = sigmoid(W [item; text] + b), [n, d] each. Back: (d item, d text).

    dg = dv (item - text), dz = dg g (1 - g) through the sigmoid; item and text get the part through W
    besides their own.
    """
    z, z_back = linear(torch.cat([item, text], -1), p, name, grads)
    g = torch.sigmoid(z)

    def back(dv):
        d_item, d_text = z_back(dv * (item - text) * g * (1 - g)).chunk(2, -1)
        return d_item + g * dv, d_text + (1 - g) * dv

    return g * item + (1 - g) * text, back


def recommender(
    p: Mapping[str, Tensor], ids: Tensor, mask: Tensor, items: Tensor, users: Tensor, y: Tensor, heads: int
) -> tuple[Tensor, Grads]:
    """Loss of a recommender and its gradient in all parameters.

    Tokens -> BERT -> masked mean -> projection -> gate with the item's id vector -> dot product with the user's vector
    -> mean binary cross-entropy.

    Args:
        p: `state_dict()` of a `BertModel` without pooler, and "projection.weight" [d, w], "projection.bias" [d],
            "gate.weight" [d, 2 d], "gate.bias" [d], "items" [items, d], "users" [users, d].
        ids, mask: tokens of the item of each row, int [n, t].
        items, users: positions, int [n].
        y: labels, [n].
        heads: of the attention.

    As BERT has it: GELU, layer norm with eps 1e-12. Every text has a token; id 0 is a token like any other.

    Returns:
        the loss, [], and {parameter: gradient}, "embeddings" being the one in the summed token vectors, [n, t, w].
    """
    grads, layers = Grads(), sum(name.endswith("attention.self.query.weight") for name in p)
    x, embeddings_back = embeddings(ids, p, grads)
    layer_backs = []
    for i in range(layers):
        x, back = bert_layer(x, mask, p, f"encoder.layer.{i}", heads, grads)
        layer_backs.append(back)
    text, mean_back = masked_mean(x, mask)
    text, projection_back = linear(text, p, "projection", grads)
    v, gate_back = gate(p["items"][items], text, p, "gate", grads)
    u = p["users"][users]
    z = (u * v).sum(-1)

    dz = losses.bce_with_logits_grad(z, y)[:, None]  # (p - y) / n
    grads.add("users", torch.zeros_like(p["users"]).index_add(0, users, dz * v))
    d_item, d_text = gate_back(dz * u)
    grads.add("items", torch.zeros_like(p["items"]).index_add(0, items, d_item))
    d = mean_back(projection_back(d_text))
    for back in reversed(layer_backs):
        d = back(d)
    grads.add("embeddings", embeddings_back(d))
    return losses.bce_with_logits(z, y), grads
