"""Facts inside of a sentence, as K-BERT reads them: branches at the title that do not see each other.

    trees = item_trees(ds, encoder)  # a Tree for each film, with the columns of ds.facts as branches
    vectors = encode_trees(encoder, trees)

Source: Liu et al. 2020, K-BERT: Enabling Language Representation with Knowledge Graph, section 3. K-BERT trains with
such trees; here a model reads them that has never met one.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from torch.nn.functional import normalize
from torch.nn.utils.rnn import pad_sequence

from klm_utils import progress
from klm_utils.data.schema import RecDataset, title_text
from klm_utils.embedding.encoder import TextEncoder, by_length, checked_texts
from klm_utils.embedding.pooling import POOLINGS
from klm_utils.errors import ConfigError, DataError, check_choice, check_kind, check_whole
from klm_utils.knowledge.templates import fields_of, item_text, item_texts
from klm_utils.plots import COLOURS

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Tree:
    """The n tokens of a sentence and its facts: the sentence, the facts, and the closing token of the sentence.

    tokens, ids: what the tokenizer made. positions: the soft position of each token, int [n]. branches: 0 for a token
    of the sentence, k for one of the k-th fact, int [n]. title: whether the facts hang on this token, bool [n].
    visible: whether the token of the row sees that of the column, bool [n, n]. left_out: facts that did not fit.
    """

    tokens: list[str]
    ids: list[int]
    positions: np.ndarray
    branches: np.ndarray
    title: np.ndarray
    visible: np.ndarray
    left_out: int = 0


def sentence_tree(encoder: TextEncoder, sentence: str, title: str, facts: Sequence[str]) -> Tree:
    """A sentence, and facts that hang on the title in it.

    A fact counts on from the last token of the title, and so does the rest of the sentence: positions occur twice. A
    tree of more than `encoder.max_length` tokens loses whole facts: the first that does not fit, and all after it.

    Args:
        encoder: whose tokenizer, prefix and max_length to use.
        sentence: such as item_text gives it; alone it is read as `encoder.encode` reads it.
        title: a part of the sentence.
        facts: short texts, such as "Directed by Ridley Scott.".

    Raises:
        DataError: the title is not in what is read of the sentence; the facts are no list of texts.
        ConfigError: no encoder, or one that is no BERT: others count positions in other ways.
    """
    check_kind("sentence_tree(encoder)", encoder, TextEncoder, "a TextEncoder", "TextEncoder.from_pretrained('minilm')")
    (sentence, title), facts = checked_texts([sentence, title]), checked_texts(facts)
    options = {"truncation": True, "max_length": encoder.max_length, "return_offsets_mapping": True}
    read, first = encoder.tokenizer(encoder.prefix + sentence, **options), sentence.find(title) + len(encoder.prefix)
    if (kind := encoder.model.config.model_type) != "bert" or read["input_ids"][-1] != encoder.tokenizer.sep_token_id:
        expected, remedy = "a BERT whose texts end in [SEP]", "TextEncoder.from_pretrained('minilm')"
        raise ConfigError("this encoder reads no trees", "sentence_tree(encoder)", kind, expected, remedy)
    ends = np.array(read["offset_mapping"])  # of each token in the text, (0, 0) of a special one
    at = (ends[:, 0] < first + len(title)) & (ends[:, 1] > first)
    if title not in sentence or not at.any():
        remedy = "give the title as it is written in the sentence"
        raise DataError("no title for the facts to hang on", "sentence_tree(title)", title, sentence, remedy)
    *trunk, end = read["input_ids"]
    sizes: list[int] = []
    ids = list(trunk)
    for fact in facts:
        more = encoder.tokenizer(fact, add_special_tokens=False)["input_ids"]
        if len(ids) + len(more) >= encoder.max_length:
            break
        sizes, ids = [*sizes, len(more)], [*ids, *more]
    ids = [*ids, end]
    hangs = int(np.flatnonzero(at)[-1]) + 1
    soft = [*range(len(trunk)), *(hangs + place for size in sizes for place in range(size)), len(trunk)]
    branches = np.repeat(np.arange(len(sizes) + 2) % (len(sizes) + 1), [len(trunk), *sizes, 1])
    on_title = np.append(at[:-1], np.zeros(len(ids) - len(trunk), dtype=bool))
    tokens, seen = [*encoder.tokenizer.convert_ids_to_tokens(ids)], visible_matrix(branches, on_title)
    return Tree(tokens, ids, np.array(soft), branches, on_title, seen, len(facts) - len(sizes))


def visible_matrix(branches: np.ndarray, title: np.ndarray) -> np.ndarray:
    """Who sees whom, bool [n, n]: tokens of one branch see each other, and the title sees and is seen by all.

    Source: Liu et al. 2020, section 3.5.
    """
    branches, title = np.asarray(branches), np.asarray(title, dtype=bool)
    return (branches[:, None] == branches) | title[:, None] | title


def item_trees(
    ds: RecDataset, encoder: TextEncoder, facts: Sequence[str] | None = None, language: str | None = None
) -> list[Tree]:
    """A tree for each item: title, year and tags are the sentence, each value of the columns `facts` is a branch.

    Args:
        ds: the data set.
        encoder: as for `sentence_tree`.
        facts: columns of lists; None: `ds.facts`.
        language: of the sentences, as for `item_text`.
    """
    check_kind("item_trees(ds)", ds, RecDataset, "a RecDataset", "klm.load_dataset('movielens-100k')")
    names = fields_of(ds.items, ds.facts if facts is None else facts, "item_trees(facts)")
    trees = []
    for row, sentence in zip(ds.items.to_dict("records"), item_texts(ds, language), strict=True):
        branches = [item_text({name: [value]}, language, (name,)) for name in names for value in row[name]]
        trees.append(sentence_tree(encoder, sentence, title_text(row["title"]), branches))
    return trees


def token_states(encoder: TextEncoder, trees: Sequence[Tree]) -> tuple[list[torch.Tensor], torch.Tensor]:
    """The token vectors of one batch, before the first layer and after each, and the branch of each token.

    transformers hands a mask with four axes, [batch, 1, tokens, tokens], to the attention of every layer as it is.

    Returns:
        float [batch, tokens, width] of each layer, and int [batch, tokens]: as `Tree.branches`, -1 for padding.
    """
    ids, positions, branches = (
        pad_sequence([torch.as_tensor(getattr(tree, part)) for tree in trees], True, padding)
        for part, padding in (("ids", encoder.tokenizer.pad_token_id), ("positions", 0), ("branches", -1))
    )
    # What is not seen gets this in place of 0 before the softmax. It is finite: padding sees nothing, and nan spreads.
    mask = torch.full((len(trees), 1, *ids.shape[1:], *ids.shape[1:]), torch.finfo(encoder.model.dtype).min)
    for one, tree in zip(mask, trees, strict=True):
        one[0, : len(tree.ids), : len(tree.ids)].masked_fill_(torch.from_numpy(tree.visible), 0.0)
    batch = {"input_ids": ids, "position_ids": positions, "attention_mask": mask.to(encoder.model.dtype)}
    batch = {name: part.to(encoder.model.device) for name, part in batch.items()}
    return list(encoder.model(**batch, output_hidden_states=True).hidden_states), branches.to(encoder.model.device)


def encode_trees(encoder: TextEncoder, trees: Sequence[Tree], batch_size: int = 64, over: str = "all") -> np.ndarray:
    """One vector per tree, pooled and normalised as the encoder does it; nothing is kept on disk.

    Args:
        encoder: a BERT in evaluation mode, as `TextEncoder` makes it.
        trees: made with this encoder.
        batch_size: trees of similar length that go through the model together.
        over: which tokens are pooled. "all", as in a plain text, so that nothing but the sight differs from that.
            "trunk": those of the sentence alone, so that a fact counts by what the title has seen of it.

    Returns:
        float32 [n, dim], in the order of `trees`.
    """
    check_choice("over", over, ("all", "trunk"))
    if short := [tree.left_out for tree in trees if tree.left_out]:
        log.warning("%d facts of %d trees did not fit into %d tokens", sum(short), len(short), encoder.max_length)
    vectors = np.zeros((len(trees), encoder.dim), dtype=np.float32)
    batches = by_length([tree.ids for tree in trees], check_whole("batch_size", batch_size))
    with torch.inference_mode():
        for rows in progress.Bar(batches, "encoding", unit=" batches"):
            states, branches = token_states(encoder, [trees[row] for row in rows])
            counted = branches >= 0 if over == "all" else branches == 0
            pooled = POOLINGS[encoder.pooling](states[-1], counted)
            vectors[rows] = (normalize(pooled, dim=-1) if encoder.normalize else pooled).float().cpu().numpy()
    return vectors


def tree_picture(tree: Tree, ax: Axes | None = None) -> Axes:
    """The visible matrix with its tokens: a row sees the coloured columns. Above, the soft position of each token.

    Grey: the sentence. A colour for each fact, also where it meets the title, whose positions are bold.
    """
    n = len(tree.ids)
    ax = ax or plt.subplots(figsize=(1.2 + 0.3 * n, 1.3 + 0.3 * n), layout="constrained")[1]
    colours = ["white", "#BBBBBB", *(COLOURS[k % len(COLOURS)] for k in range(tree.branches.max()))]
    branch = np.maximum(tree.branches[:, None], tree.branches) + 1
    ax.imshow(np.where(tree.visible, branch, 0), cmap=ListedColormap(colours), vmin=0, vmax=len(colours) - 1)
    for place, (position, own) in enumerate(zip(tree.positions, tree.branches, strict=True)):
        weight = "bold" if tree.title[place] else "normal"
        box = {"boxstyle": "square,pad=0.15", "facecolor": colours[own + 1], "edgecolor": "none", "alpha": 0.45}
        ax.text(place, -1.15, str(position), fontsize=9, fontweight=weight, bbox=box, ha="center", va="center")
    ax.set_yticks(range(n), tree.tokens, fontsize=9, parse_math=False)
    ax.set_xticks(range(n), tree.tokens, fontsize=9, rotation=90, parse_math=False)
    ax.set_xticks(np.arange(n + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(n + 1) - 0.5, minor=True)
    ax.grid(which="minor", color="#EEEEEE", linewidth=0.8)
    ax.tick_params(which="both", length=0)
    ax.set(ylim=(n - 0.5, -1.8))
    ax.spines[:].set_visible(False)
    return ax
