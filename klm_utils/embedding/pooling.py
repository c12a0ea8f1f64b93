"""From token vectors to one text vector.

Each function takes `hidden`, the last hidden states, float [batch, tokens, width], and `mask`, 1 for a token and 0 for
padding on either side, [batch, tokens]; it gives float [batch, width], with zeros for a text without any token.
Whatever stands in the padding, even nan, has no influence here. It has in a model without attention mask, such as FNet,
whose hidden states of the tokens depend on the padding.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from klm_utils.errors import DataError


def masked_mean(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The average of the token vectors.

    Source: Reimers and Gurevych 2019, Sentence-BERT, section 3 (MEAN strategy).
    """
    real = mask.bool().unsqueeze(-1)
    return hidden.masked_fill(~real, 0).sum(1) / real.sum(1).clamp_min(1)


def cls_token(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The vector of the first token, which BERT-like models put in front of each text.

    Source: Devlin et al. 2019, BERT, section 3; Sentence-BERT, section 3 (CLS strategy).
    """
    return _token(hidden, mask, mask.bool().int().argmax(1))


def last_token(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The vector of the last token, the only one of a left-to-right model that has seen the whole text.

    Source: Neelakantan et al. 2022, Text and Code Embeddings by Contrastive Pre-Training, section 2.
    """
    return _token(hidden, mask, mask.shape[1] - 1 - mask.bool().int().flip(1).argmax(1))


def _token(hidden: torch.Tensor, mask: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
    """One position of each row of the batch."""
    chosen = hidden[torch.arange(len(hidden), device=hidden.device), position]
    return chosen.masked_fill(~mask.bool().any(1, keepdim=True), 0)


POOLINGS = {"mean": masked_mean, "cls": cls_token, "last": last_token}


def bag_mean(vectors: np.ndarray, bags: Sequence[Sequence[int]]) -> np.ndarray:
    """The average of a bag of vectors, such as those of an item's tags; bags of any sizes, in any order within a bag.

    Args:
        vectors: float [m, d].
        bags: for each of n things the rows of `vectors` that it has; an empty bag gives zeros.

    Returns:
        [n, d], of the dtype of `vectors`.

    Raises:
        DataError: a row that `vectors` does not have, or that is no whole number.

    Source: Iyyer et al. 2015, Deep unordered composition rivals syntactic methods, section 2; as
    torch.nn.EmbeddingBag(mode="mean").
    """
    vectors = np.asarray(vectors)
    sizes = np.array([len(bag) for bag in bags], dtype=np.int64)
    rows = np.array([row for bag in bags for row in bag] or np.zeros(0, dtype=np.int64))
    if rows.dtype.kind not in "iu" or rows.ndim != 1:  # numpy would make 1 of 1.5
        what, remedy = "a bag holds something else than row numbers", "for bags of words use bag_vectors"
        raise DataError(what, "bag_mean(bags)", bags[:3], "lists of whole numbers", remedy)
    if len(rows) and not (rows.min() >= 0 and rows.max() < len(vectors)):
        first = np.flatnonzero((rows < 0) | (rows >= len(vectors)))[0]
        where = f"bag_mean(bags), bag {np.searchsorted(np.cumsum(sizes), first + 1)}"
        expected, remedy = f"rows 0 to {len(vectors) - 1}", "encode the tag first: any text gets a vector"
        raise DataError("a bag names a vector that is not there", where, int(rows[first]), expected, remedy)
    totals = np.zeros((len(bags), vectors.shape[1]), dtype=vectors.dtype)
    np.add.at(totals, np.repeat(np.arange(len(bags)), sizes), vectors[rows])
    return totals / np.maximum(sizes, 1)[:, None].astype(vectors.dtype)


def bag_vectors(encode: Callable[[list[str]], np.ndarray], bags: Sequence[Sequence[str]]) -> np.ndarray:
    """A vector for each bag of words or texts: the mean of their vectors, each text encoded once.

    Args:
        encode: texts to float [m, d], such as `TextEncoder.encode`. It meets no unknown tag: it reads any text.
        bags: such as `ds.items["tags"]`.

    Raises:
        DataError: a text in place of a bag.
    """
    if texts := [bag for bag in bags if isinstance(bag, str)]:
        remedy = f"write {texts[:1]} for a bag of one text"
        raise DataError("a bag is a list of words", "bag_vectors(bags)", texts[0], "a list of texts", remedy)
    words = sorted({word for bag in bags for word in bag})
    row = {word: i for i, word in enumerate(words)}
    return bag_mean(encode(words), [[row[word] for word in bag] for bag in bags])
