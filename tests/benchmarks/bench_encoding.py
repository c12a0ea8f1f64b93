"""How fast encode() is: against one text at a time padded to 512 tokens, against sentence-transformers, and against
the plain matrix products that the layers consist of. MovieLens texts, `minilm`, one run.

python tests/benchmarks/bench_encoding.py
"""

import time

import numpy as np
import torch

import klm_utils as klm
from klm_utils.embedding import TextEncoder
from klm_utils.knowledge.templates import item_texts


def one_by_one(enc: TextEncoder, texts: list[str]) -> np.ndarray:
    """The usual tutorial loop."""
    vectors = []
    for text in texts:
        inputs = enc.tokenizer(text, padding="max_length", truncation=True, max_length=512, return_tensors="pt")
        with torch.no_grad():
            hidden = enc.model(**inputs).last_hidden_state
        mask = inputs["attention_mask"][..., None]
        mean = (hidden * mask).sum(1) / mask.sum(1)
        vectors.append(torch.nn.functional.normalize(mean)[0].numpy())
    return np.stack(vectors)


def sentence_transformers(enc: TextEncoder):
    """The library's encoder around the same model, in its usual setting (batches of 32)."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules as parts

    from klm_utils.data.assets import fetch

    word = parts.Transformer(str(fetch("minilm")), max_seq_length=enc.max_length)
    library = SentenceTransformer(modules=[word, parts.Pooling(enc.dim), parts.Normalize()], device="cpu")
    return lambda texts: library.encode(texts, show_progress_bar=False)


def timed(run, *arguments, repeat: int = 1):
    """Result, and the shortest time of some runs in seconds."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        result = run(*arguments)
        times.append(time.perf_counter() - start)
    return result, min(times)


def rates(enc: TextEncoder, texts: list[str], seconds: float, batch_size: int = 64) -> tuple[float, float]:
    """Multiply-adds per second in the linear layers: of encode() on real tokens, and of plain products alike."""
    width, inner, layers = enc.dim, enc.model.config.intermediate_size, enc.model.config.num_hidden_layers
    ids = sorted(enc.tokenize(sorted(set(texts))), key=len)
    ours = sum(map(len, ids)) * layers * (4 * width * width + 2 * width * inner) / seconds
    work, spent = 0, 0.0
    shapes = [(width, width)] * 4 + [(width, inner), (inner, width)]
    weights = [torch.randn(shape) for shape in shapes]
    for first in range(0, len(ids), batch_size):
        batch = ids[first : first + batch_size]
        rows = len(batch) * len(batch[-1])
        inputs = {n: torch.randn(rows, n) for n in (width, inner)}
        _, once = timed(lambda inputs=inputs: [inputs[len(w)] @ w for w in weights], repeat=3)
        spent += once
        work += rows * sum(a * b for a, b in shapes)
    return ours, work / spent


def main() -> None:
    texts = item_texts(klm.load_dataset("movielens-100k"))
    enc = TextEncoder.from_pretrained("minilm", device="cpu")
    enc.encode(texts[:64], cache=False)  # warm up
    some = texts[:100]
    slow, of_slow = timed(one_by_one, enc, some)
    fast, of_fast = timed(enc.encode, texts, 64, False, repeat=3)
    print(f"{len(texts)} texts, {len(set(texts))} different, {torch.get_num_threads()} threads")
    per_text = of_slow / len(some), of_fast / len(texts)
    print(f"one by one at 512: {1e3 * per_text[0]:.1f} ms per text, encode(): {1e3 * per_text[1]:.2f} ms; ", end="")
    print(f"ratio {per_text[0] / per_text[1]:.1f}; largest difference {np.abs(slow - fast[:100]).max():.1e}")
    library, of_library = timed(sentence_transformers(enc), texts, repeat=3)
    print(
        f"sentence-transformers {of_library:.2f} s, encode() {of_fast:.2f} s; ratio {of_library / of_fast:.2f}; ",
        end="",
    )
    print(f"largest difference {np.abs(library - fast).max():.1e}")
    with torch.inference_mode():
        ours, plain = rates(enc, texts, of_fast)
    print(f"multiply-adds per second: encode() {ours / 1e9:.1f} G, plain products alike {plain / 1e9:.1f} G; ", end="")
    print(f"share {ours / plain:.2f}")


if __name__ == "__main__":
    main()
