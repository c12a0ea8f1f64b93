"""A knowledge graph as facts of items: for features, or for text."""

from klm_utils.data.schema import RecDataset
from klm_utils.errors import DataError, check_kind
from klm_utils.knowledge.controls import others

Facts = list[list[tuple[str, str]]]


def facts(ds: RecDataset) -> Facts:
    """For each item, in the order of `ds.items`, its (relation, tail) pairs, each once, in the order of the graph.

    An item is a head by its `entity`, where the table has that column, else by its title. A tail that is no item is
    followed one step further, but not back to items: the country of a brand, what a category is a kind of.

    Raises:
        DataError: the data set has no graph.
        ConfigError: `ds` is no data set.
    """
    check_kind("facts(ds)", ds, RecDataset, "a RecDataset", "klm.load_dataset('shop')")
    if ds.triples is None:
        expected, remedy = (
            "a table of head, relation, tail",
            "use the shop or MovieLens, or give RecDataset its triples",
        )
        raise DataError("the data set has no knowledge graph", f"facts({ds.name})", None, expected, remedy)
    heads = ds.items["entity" if "entity" in ds.items else "title"]
    known = set(heads.dropna())
    of: dict[object, list[tuple[str, str]]] = {}
    for head, relation, tail in ds.triples[["head", "relation", "tail"]].itertuples(index=False, name=None):
        of.setdefault(head, []).append((relation, tail))
    found = []
    for head in heads:
        own = of.get(head, [])
        further = [fact for _, tail in own if tail not in known for fact in of.get(tail, []) if fact[1] not in known]
        found.append(list(dict.fromkeys([*own, *further])))
    return found


def shuffled(found: Facts, seed: int = 0) -> Facts:
    """The control: the facts of each item at another one; as many facts, as often each.

    Raises:
        DataError: there is one item only.
    """
    return [found[i] for i in others(len(found), seed)]


def as_tags(found: Facts) -> list[list[str]]:
    """Facts as tags, "usedFor=跑步": a column of `ds.items` that becomes features."""
    return [[f"{relation}={tail}" for relation, tail in one] for one in found]
