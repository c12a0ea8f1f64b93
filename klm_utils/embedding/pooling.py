"""From token vectors to one text vector.

Each function takes `hidden`, the last hidden states, float [batch, tokens, width], and `mask`, 1 for a token and 0 for
padding on either side, [batch, tokens]; it gives float [batch, width], with zeros for a text without any token.
Whatever stands in the padding, even nan, has no influence.
"""

import torch


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
