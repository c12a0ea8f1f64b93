"""Masked language modelling on the texts of a domain: guess hidden words from the others.

Two uses: as a second loss beside the recommender's (`TrainConfig(mlm=...)`), and before it (`pretrain`).
"""

from math import exp

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, gelu

from klm_utils import progress
from klm_utils.embedding import modes
from klm_utils.embedding.encoder import TextEncoder, by_length
from klm_utils.errors import ConfigError, DataError, check_whole

LR = 1e-3  # of a head, which is new
RATE = 0.15  # share of the tokens that are to be guessed
BATCH = 64  # texts
FOLDS = 7  # perplexity hides every seventh token, seven times


class MaskedHead(nn.Module):
    """hidden -> logits over the vocabulary: W2 layernorm(gelu(W1 h + b1)) + b2, where W2 is the table of tokens.

    W1 starts as the identity: minilm and e5 come without a head of their own.

    Source: Devlin et al. 2019, BERT, section 3.1; Press and Wolf 2017, Using the output embedding, for the tied table.
    """

    def __init__(self, encoder: TextEncoder, seed: int = 0):
        super().__init__()
        self.table = [encoder.model.get_input_embeddings()]  # in a list: it belongs to the language model
        words, width = self.table[0].weight.shape
        if encoder.tokenizer.mask_token_id is None or width != encoder.dim:
            what, remedy = "this language model cannot guess masked tokens", "use one like BERT, such as minilm or e5"
            found = f"mask token {encoder.tokenizer.mask_token!r}, table {width} wide, hidden states {encoder.dim}"
            expected = "a mask token, and a table as wide as the hidden states"
            raise ConfigError(what, "MaskedHead(encoder)", found, expected, remedy)
        draw = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):  # torch fills it at random, before we do
            self.dense, self.norm = nn.Linear(width, width), nn.LayerNorm(width)
        with torch.no_grad():
            self.dense.weight.copy_(torch.eye(width) + 0.02 * torch.randn(width, width, generator=draw))
            self.dense.bias.zero_()
        self.bias = nn.Parameter(torch.zeros(words))
        self.to(encoder.model.device)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """float [n, width] -> float [n, words]."""
        return self.norm(gelu(self.dense(hidden))) @ self.table[0].weight.T + self.bias


def hide(ids: torch.Tensor, chosen: torch.Tensor, encoder: TextEncoder, draw: torch.Generator) -> torch.Tensor:
    """The ids with the chosen tokens hidden: 80 % become the mask, 10 % a random token, 10 % stay as they are.

    The last two keep the language model from relying on the mask, which no text has outside of this training.
    """
    luck = torch.rand(ids.shape, generator=draw)
    others = torch.randint(encoder.model.config.vocab_size, ids.shape, generator=draw)
    ids = torch.where(chosen & (luck < 0.8), encoder.tokenizer.mask_token_id, ids)
    return torch.where(chosen & (luck >= 0.8) & (luck < 0.9), others, ids)


def masked_loss(encoder: TextEncoder, head: MaskedHead, ids: list[list[int]], draw: torch.Generator) -> torch.Tensor:
    """Mean cross-entropy of the hidden tokens of some texts (token ids from `encoder.tokenize`), differentiable."""
    padded, mask, words = _padded(encoder, ids)
    chosen = words & (torch.rand(padded.shape, generator=draw) < RATE)
    if not chosen.any():  # very short texts: hide the first word there is
        chosen.view(-1)[words.view(-1).int().argmax()] = words.any()
    if not chosen.any():
        return 0.0 * torch.stack([weight.sum() for weight in head.parameters()]).sum()
    logits = _guess(encoder, head, hide(padded, chosen, encoder, draw), mask, chosen)
    return cross_entropy(logits, padded[chosen].to(logits.device))


@torch.no_grad()
def perplexity(encoder: TextEncoder, head: MaskedHead, texts: list[str]) -> float:
    """exp of the mean cross-entropy of every token of the texts, each hidden once while six sevenths are in sight.

    Raises:
        DataError: no text has a token.

    Source: Salazar et al. 2020, Masked language model scoring, section 2 (pseudo-perplexity, there token by token).
    """
    training = encoder.model.training
    encoder.model.eval()
    ids, total, n = encoder.tokenize(texts), 0.0, 0
    for batch in by_length(ids, BATCH):
        padded, mask, words = _padded(encoder, [ids[place] for place in batch])
        place = words.int().cumsum(1)
        for fold in range(FOLDS):
            chosen = words & (place % FOLDS == fold)
            if chosen.any():
                hidden = torch.where(chosen, encoder.tokenizer.mask_token_id, padded)
                logits = _guess(encoder, head, hidden, mask, chosen)
                total += cross_entropy(logits, padded[chosen].to(logits.device), reduction="sum").item()
                n += int(chosen.sum())
    encoder.model.train(training)
    return exp(total / _some(n))


def unigram_perplexity(encoder: TextEncoder, train: list[str], texts: list[str], alpha: float = 0.01) -> float:
    """The same of a model that knows how often each token occurs in `train`, plus `alpha`, and nothing else."""
    counts = np.full(encoder.model.config.vocab_size, float(alpha))
    special = set(encoder.tokenizer.all_special_ids)
    np.add.at(counts, [token for ids in encoder.tokenize(train) for token in ids if token not in special], 1)
    seen = [token for ids in encoder.tokenize(texts) for token in ids if token not in special]
    return exp(-np.log(counts[seen] / counts.sum()).sum() / _some(len(seen)))


def pretrain(
    encoder: TextEncoder,
    texts: list[str],
    *,
    epochs: int = 5,
    lr: float = 5e-5,
    seed: int = 0,
    verbose: bool | None = None,
) -> tuple[TextEncoder, MaskedHead]:
    """Masked language modelling on the texts: a copy of the encoder, all trained but the table of tokens, and a head.

    Args:
        encoder: stays as it is.
        texts: of the domain.
        epochs, lr, seed: of the training.
        verbose: a bar that is gone in the end (None), a line for each epoch (True), or nothing (False).

    Raises:
        DataError: no texts, a bare text in place of a list, or something in it that is no text.

    Source: Gururangan et al. 2020, Don't stop pretraining, section 3 (domain-adaptive pretraining).
    """
    epochs, encoder = check_whole("epochs", epochs), modes.tuned(encoder, "full")
    head, ids = MaskedHead(encoder, seed), encoder.tokenize(texts)
    _some(len(ids))
    trained = [weight for weight in encoder.model.parameters() if weight.requires_grad]
    groups = [{"params": trained, "lr": lr}, {"params": head.parameters(), "lr": LR}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    draw = torch.Generator().manual_seed(seed)
    steps = progress.Bar(text="guessing words", total=epochs * len(ids), unit=" texts", shown=verbose is None)
    with steps:
        for epoch in range(1, epochs + 1):
            total = 0.0
            for at in torch.randperm(len(ids), generator=draw).split(BATCH):
                loss = masked_loss(encoder, head, [ids[i] for i in at.tolist()], draw)
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(trained, 1.0)
                optimizer.step()
                total += loss.item() * len(at)
                steps.update(len(at))
            if verbose:
                print(f"epoch {epoch}: masked loss {total / len(ids):.3f}", flush=True)
    return encoder, head


def _padded(encoder: TextEncoder, ids: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids, attention mask, and which tokens are words: neither padding nor special; each [texts, tokens]."""
    batch = encoder.tokenizer.pad({"input_ids": ids}, padding_side="right", return_tensors="pt")
    special = torch.isin(batch["input_ids"], torch.tensor(encoder.tokenizer.all_special_ids))
    return batch["input_ids"], batch["attention_mask"], batch["attention_mask"].bool() & ~special


def _guess(encoder: TextEncoder, head: MaskedHead, ids, mask, chosen) -> torch.Tensor:
    """Logits of the chosen tokens only: over the whole vocabulary they cost as much as the language model."""
    device = encoder.model.device
    states = encoder.model(input_ids=ids.to(device), attention_mask=mask.to(device)).last_hidden_state
    return head(states[chosen.to(device)])


def _some(n: int) -> int:
    if n:
        return n
    found, remedy = "no text with a word in it", "pass the texts of some items"
    raise DataError("there is no token to guess", "texts", found, "at least one", remedy)
