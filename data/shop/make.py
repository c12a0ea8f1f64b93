"""Write the tables of the simulated shop from the hand-written words in source/: python data/shop/make.py [FOLDER]

Deterministic: tests/data/test_shop.py runs it and compares every byte with what is committed here.
"""

import gzip
import io
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from spoil import spoil_items, spoil_log, spoil_users

from klm_utils.data.shop import draw_users, world_of
from klm_utils.data.shop.world import DAY, NEW_AFTER, START, simulate, uniform

HERE = Path(__file__).parent
ITEMS, COPIES = 600, 2
LANGUAGES = ("zh", "en")
SEASONS = ("spring", "summer", "autumn", "winter")


def read_source() -> dict:
    """The YAML files: words, brands, complements, and the types of all categories."""
    source = {
        n: yaml.safe_load((HERE / "source" / f"{n}.yaml").read_text("utf8"))
        for n in ("vocabulary", "brands", "complements")
    }
    source["categories"] = [yaml.safe_load(p.read_text("utf8")) for p in sorted((HERE / "source").glob("[0-9]*.yaml"))]
    topics = source["vocabulary"]["topics"].values()
    words = [source["vocabulary"]["neutral"], *(t["tags"] for t in topics), *(t["cold"] for t in topics)]
    source["tags"] = {zh: en for part in words for zh, en in part.items()}
    source["topic_of"] = {z: k for k, t in source["vocabulary"]["topics"].items() for z in (*t["tags"], *t["cold"])}
    return source


def product_types(source: dict) -> list[dict]:
    """Every product type with its place in the catalogue, in the order of the files."""
    return [
        {**kind, "category": c["category"], "subcategory": {"zh": s["zh"], "en": s["en"]}, "pool": s["sentences"]}
        for c in source["categories"]
        for s in c["subcategories"]
        for kind in s["types"]
    ]


def draw(what: str, *counters) -> float:
    """One number in [0, 1) of the catalogue's own stream."""
    return float(uniform(0, f"catalogue {what}", *map(np.array, counters)))


def items_table(source: dict, kinds: list[dict]) -> pd.DataFrame:
    """600 items: the words of each in both languages, and its latent factors."""
    cold = [k for k, kind in enumerate(kinds) if kind.get("cold")]
    copies = [COPIES] * len(kinds)
    extra = sorted(cold, key=lambda k: draw("extra", k))[: ITEMS - sum(copies)]
    for k in extra:
        copies[k] += 1
    pairs = [(k, c) for k in range(len(kinds)) for c in range(copies[k])]
    first = {"智能手机": 0, "学习用书": 1, "户外运动装备": 2}  # the article's three items lead
    pairs.sort(key=lambda kc: first.get(kinds[kc[0]]["zh"], 9) if kc[1] == 0 else 9 + draw("place", *kc))
    used = Counter()
    rows = [item(source, kinds[k], k, c, number, used) for number, (k, c) in enumerate(pairs, start=1)]
    return pd.DataFrame(rows)


def item(source: dict, kind: dict, k: int, copy: int, number: int, used: Counter) -> dict:
    """One row of the catalogue."""
    cold = bool(kind.get("cold"))
    pool = source["brands"]["newcomers"] if cold else source["brands"]["brands"][kind["category"]["zh"]]
    brand = pool[(int(draw("brand", k) * len(pool)) + copy) % len(pool)]
    title = {"zh": brand[0] + kind["zh"], "en": f"{brand[1]} {kind['en']}"}
    tags = chosen_tags(source, kind, k, copy)
    if number <= 3:  # as the article has them
        brand = ["小米", "Xiaomi", "CN"] if number == 1 else brand
        title = [{"zh": "小米手机", "en": "Xiaomi phone"}, *({n: kind[n] for n in LANGUAGES},) * 2][number - 1]
        tags = kind["tags"][:3]
    low, high = kind["price"]
    share = draw("price", k, copy)
    price = (
        max(round(low * (high / low) ** share) // 10 * 10 - 1, 5)
        if high > 60
        else round(low * (high / low) ** share, 1)
    )
    where = (
        {"zh": ("新品", "待归类"), "en": ("New arrivals", "Unsorted")}
        if cold
        else {n: (kind["category"][n], kind["subcategory"][n]) for n in LANGUAGES}
    )
    about = description(kind, dict(zip(LANGUAGES, brand, strict=False)), number, used)
    noise = sum(draw(f"weight {j}", number) for j in range(3)) - 1.5
    quality = round(0.9 * (sum(draw(f"quality {j}", number) for j in range(3)) - 1.5), 4)
    row = {"item_id": number}
    row |= {f"title_{n}": title[n] for n in LANGUAGES} | {f"description_{n}": about[n] for n in LANGUAGES}
    row |= {"tags_zh": "|".join(tags), "tags_en": "|".join(source["tags"][t] for t in tags)}
    row |= {f"brand_{n}": brand[j] for j, n in enumerate(LANGUAGES)}
    row |= {f"category_{n}": where[n][0] for n in LANGUAGES} | {f"subcategory_{n}": where[n][1] for n in LANGUAGES}
    row |= {"price": price, "launched": START + NEW_AFTER * DAY if cold else START}
    row |= {
        "kind": k,
        "topics": "|".join(f"{t}:{w}" for t, w in zip(kind["topics"], (1, 0.5), strict=False)),
        "quality": quality,
        "price_z": round(3.4 * (share - 0.5), 4),
        "season": SEASONS.index(kind["season"]) + 1 if kind["season"] else 0,
        "weight": round(float(np.exp(1.2 * quality + 1.2 * noise)), 4),
        "category": kind["category"]["en"],
        "cold": int(cold),
    }
    return row


def chosen_tags(source: dict, kind: dict, k: int, copy: int) -> list[str]:
    """3 to 6 tags of the type's own: two of its main topic always, the others by chance."""
    tags = kind["tags"]
    if kind.get("cold"):
        return tags
    main = [t for t in tags if source["topic_of"].get(t) == kind["topics"][0]][:2]
    others = [t for t in tags if t not in main]
    wanted = 1 + int(draw("tags", k, copy) * min(len(others), 4))
    kept = sorted(others, key=lambda t: draw(f"tag {t}", k, copy))[:wanted]
    return [t for t in tags if t in main or t in kept]


def description(kind: dict, brand: dict, number: int, used: Counter) -> dict:
    """The type's own sentence and one or two of its subcategory, those that were used least; no text twice."""
    pool = sorted(kind["pool"], key=lambda s: (used[s["zh"]], draw(s["zh"], number)))
    for skip in range(len(pool)):
        sentences = [kind["about"], *pool[skip : skip + 1 + number % 2]]
        turn = number // 2 % len(sentences)
        ordered = [*sentences[turn:], *sentences[:turn]]
        text = {
            n: ("" if n == "zh" else " ").join(s[n].replace("{brand}", brand[n]) for s in ordered) for n in LANGUAGES
        }
        if not used[text["zh"]]:
            break
    used.update([text["zh"], *(s["zh"] for s in sentences)])
    return text


def triples_table(source: dict, kinds: list[dict], items: pd.DataFrame) -> pd.DataFrame:
    """The knowledge graph: head, relation, tail, the names in both languages."""
    found = []
    for row in items.to_dict("records"):
        kind, title = kinds[row["kind"]], (row["title_zh"], row["title_en"])
        found.append((title, "brand", (row["brand_zh"], row["brand_en"])))
        found.append((title, "category", (kind["subcategory"]["zh"], kind["subcategory"]["en"])))
        found.append((title, "usedFor", (kind["use"]["zh"], kind["use"]["en"])))
        if kind["season"]:
            found.append((title, "seasonOf", tuple(source["brands"]["seasons"][kind["season"]])))
    made = {tuple(b) for part in source["brands"]["brands"].values() for b in part} | {
        tuple(b) for b in source["brands"]["newcomers"]
    }
    for zh, en, country in sorted(made | {("小米", "Xiaomi", "CN")}):
        found.append(((zh, en), "country", tuple(source["brands"]["countries"][country])))
    found += [
        ((k["subcategory"]["zh"], k["subcategory"]["en"]), "isA", (k["category"]["zh"], k["category"]["en"]))
        for k in kinds
    ]
    found += [((a, source["tags"][a]), "isA", (b, source["tags"][b])) for a, b in source["vocabulary"]["is_a"].items()]
    titles = items.groupby("kind")[["title_zh", "title_en"]].apply(lambda g: list(g.itertuples(index=False, name=None)))
    for a, b in np.argwhere(complements(source, kinds)):
        found += [(head, "complementOf", tail) for head in titles[b] for tail in titles[a]]
    rows = [(head[0], relation, tail[0], head[1], tail[1]) for head, relation, tail in dict.fromkeys(found)]
    return pd.DataFrame(rows, columns=["head_zh", "relation", "tail_zh", "head_en", "tail_en"])


def complements(source: dict, kinds: list[dict]) -> np.ndarray:
    """[a, b] is true where b goes with a, from the lines "a: [b, ...]" of source/complements.yaml."""
    place = {kind["zh"]: k for k, kind in enumerate(kinds)}
    table = np.zeros((len(kinds), len(kinds)), dtype=bool)
    for a, others in source["complements"].items():
        for b in others:
            table[place[a], place[b]] = True
    return table


def write(folder: Path) -> None:
    """All files of the shop."""
    source = read_source()
    kinds = product_types(source)
    items, table = items_table(source, kinds), complements(source, kinds)
    latent = ["kind", "topics", "quality", "price_z", "season", "weight", "category", "cold"]
    truth, public = items[["item_id", *latent]], items.drop(columns=latent)
    interests = [
        (t, zh, en) for t, part in source["vocabulary"]["topics"].items() for zh, en in part["interests"].items()
    ]
    interests = pd.DataFrame(interests, columns=["topic", "zh", "en"])
    pairs = pd.DataFrame(np.argwhere(table), columns=["bought", "more_likely"])
    users = draw_users(interests, seed=0)
    log = simulate(world_of(public, truth, pairs, users), seed=0)
    log.insert(0, "user_id", users["user_id"].to_numpy()[log.pop("user")])
    log.insert(1, "item_id", public["item_id"].to_numpy()[log.pop("item")])
    folder.mkdir(parents=True, exist_ok=True)
    tables = {"items": public, "users": users.drop(columns="topics"), "triples": triples_table(source, kinds, items)}
    tables |= {"latent_items": truth, "latent_interests": interests, "latent_complements": pairs}
    for name, frame in tables.items():
        (folder / f"{name}.csv").write_text(
            frame.to_csv(index=False, lineterminator="\n"), encoding="utf8", newline="\n"
        )
    log = log.drop(columns="p")
    (folder / "interactions.csv.gz").write_bytes(gzipped(log.to_csv(index=False, lineterminator="\n")))
    raw = {"items": spoil_items(public), "users": spoil_users(tables["users"])}
    raw["interactions"] = spoil_log(log.drop(columns=["position", "propensity"]))
    (folder / "raw_dirty").mkdir(exist_ok=True)
    for name, frame in raw.items():
        (folder / "raw_dirty" / f"{name}.csv.gz").write_bytes(gzipped(frame.to_csv(index=False, lineterminator="\n")))


def gzipped(text: str) -> bytes:
    """The same bytes whenever and wherever it is called: no time, no name."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", filename="", mtime=0) as file:
        file.write(text.encode("utf8"))
    return buffer.getvalue()


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
