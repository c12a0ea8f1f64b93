"""The texts of the items, read anew in each step by a language model that is trained along."""

import torch
from torch import nn

from klm_utils.embedding.encoder import TextEncoder, by_length
from klm_utils.embedding.mlm import MaskedHead, masked_loss

TOGETHER = 32  # texts of similar length that go through the language model at a time: little padding


class ItemTexts(nn.Module):
    """One text per item, and the encoder that reads them.

    A step asks for the vectors of a set of items, each read once however many rows of the log are about it.

    Args:
        encoder: from `klm_utils.embedding.modes.tuned`; its model is trained in place.
        texts: one for each item, in the order of the items.
    """

    def __init__(self, encoder: TextEncoder, texts: list[str]):
        super().__init__()
        self.encoder, self.model = encoder, encoder.model
        self.ids = encoder.tokenize(texts)
        self.head = None
        self.eval()

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        """The vectors of these items as the language model sees them now: int [n] -> float32 [n, dim], with graph."""
        if not len(items):
            return torch.zeros(0, self.encoder.dim, device=items.device)
        ids = [self.ids[item] for item in items.tolist()]
        parts = by_length(ids, TOGETHER)
        order = torch.tensor([place for part in parts for place in part])
        vectors = torch.cat([self.encoder.forward([ids[place] for place in part]) for part in parts])
        return vectors.float().index_select(0, order.argsort().to(vectors.device))

    def learn_to_guess(self, wanted: bool = True, seed: int = 0) -> None:
        """Give the language model a new head, which `masked_loss` needs, or take it away."""
        self.head = MaskedHead(self.encoder, seed) if wanted else None

    def masked_loss(self, items: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
        """The masked-language-model loss of the texts of these items."""
        return masked_loss(self.encoder, self.head, [self.ids[item] for item in items.tolist()], draw)

    def dropout(self, rate: float) -> None:
        """Use this dropout inside the language model in training, where it has any."""
        for module in self.model.modules():
            if isinstance(module, nn.Dropout):
                module.p = rate
