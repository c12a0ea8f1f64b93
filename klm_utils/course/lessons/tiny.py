"""A left-to-right language model small enough to train in a notebook: its mechanism is real without a download."""

from collections.abc import Sequence

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from klm_utils.embedding.encoder import checked_texts
from klm_utils.errors import DataError, check_seed, check_whole

END = "<end>"


def train_tiny_gpt(
    texts: Sequence[str], steps: int = 200, seed: int = 0, *, vocabulary: int = 2000, width: int = 96, length: int = 48
) -> tuple[PreTrainedTokenizerFast, GPT2LMHeadModel, list[float]]:
    """Learn a byte-pair vocabulary and a GPT of two layers from some texts, on the CPU.

    Each step takes 32 windows of the texts, joined by an end token, and lowers the cross-entropy of every token given
    those before it. `TextEncoder(tokenizer, model.transformer, pooling="last")` makes vectors of it.

    Args:
        texts: a hundred or more, of the kind that the model is to read.
        steps: of AdamW; 200 take about 15 seconds on two cores.
        seed: of weights and windows; the global generator of torch is left alone.
        vocabulary, width, length: tokens, hidden units, tokens of a window.

    Returns:
        tokenizer, model in evaluation mode, and the loss of each step in nats per token.

    Raises:
        DataError: fewer tokens than one window, or not a list of texts.
        ConfigError: a number below 1.

    Source: Radford et al. 2018, Improving language understanding by generative pre-training, section 3.1; byte-level
    byte pairs as in GPT-2 (Radford et al. 2019, section 2.2).
    """
    for name, value in (("steps", steps), ("vocabulary", vocabulary), ("width", width), ("length", length)):
        check_whole(name, value)
    seed, texts = check_seed(seed, "train_tiny_gpt(seed)"), checked_texts(texts)
    words = Tokenizer(models.BPE())
    words.pre_tokenizer, words.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    words.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token=END, eos_token=END, pad_token=END, model_max_length=4 * length
    )
    stream = torch.tensor([token for ids in tokenizer(texts)["input_ids"] for token in [*ids, 0]])
    if len(stream) <= length:
        found, expected = f"{len(stream)} tokens", f"more than one window of {length}"
        remedy = "pass the descriptions of all items"
        raise DataError("too little text to learn from", "train_tiny_gpt(texts)", found, expected, remedy)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = GPT2Config(
            vocab_size=len(tokenizer), n_positions=4 * length, n_embd=width, n_layer=2, n_head=4, bos_token_id=0,
            eos_token_id=0, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
        )  # fmt: skip
        model, losses = GPT2LMHeadModel(config), []
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
        for _ in range(steps):
            starts = torch.randint(len(stream) - length, (32,))
            windows = stream[starts[:, None] + torch.arange(length)]
            loss = model(input_ids=windows, labels=windows).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return tokenizer, model.eval(), losses
