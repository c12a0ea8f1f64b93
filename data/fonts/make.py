"""Cut Noto Sans CJK down to the characters of the course: python data/fonts/make.py NotoSansCJKsc-Regular.otf

The full font (16 MB) is in the wheel mplfonts 0.0.11, `mplfonts/fonts/`. Kept: printable ASCII, Chinese punctuation and
full-width forms, the 3,755 most common characters (level 1 of GB 2312), and whatever the shop and the notebooks use.
"""

import sys
from pathlib import Path

from fontTools import subset

HERE = Path(__file__).parent
NAME = "NotoSansCJKsc-course.otf"
SYMBOLS = "×·–—‘’“”…→≤≥≈ΔαβγδεθλμσΣ°±●○"


def characters() -> set[str]:
    """Every character that a figure of the course may have to draw."""
    common = bytes(b for row in range(0xB0, 0xD8) for cell in range(0xA1, 0xFF) for b in (row, cell))
    kept = set(common.decode("gb2312", errors="ignore")) | set(SYMBOLS)
    kept |= {chr(c) for span in ((0x20, 0x7F), (0x3000, 0x3020), (0xFF01, 0xFF5F)) for c in range(*span)}
    root = HERE.parents[1]
    files = [*root.glob("data/shop/*.csv"), *root.glob("data/article/*.json"), *root.glob("notebooks/*.ipynb")]
    for path in files:
        kept |= {c for c in path.read_text("utf8") if "\u2e80" <= c <= "\uffef"}
    return kept


def main(full: str) -> None:
    """Write the font beside this script."""
    options = subset.Options(layout_features=[], name_IDs=[0, 1, 2, 4, 6, 13, 14], notdef_outline=True)
    options.recalc_timestamp, options.hinting, options.desubroutinize = False, False, True
    font = subset.load_font(full, options)
    cutter = subset.Subsetter(options)
    cutter.populate(text="".join(sorted(characters())))
    cutter.subset(font)
    subset.save_font(font, HERE / NAME, options)


if __name__ == "__main__":
    main(sys.argv[1])
