"""Figures without pyplot's global state, and how they go into a page that may be light or dark."""

import io
import re
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Inches: a phone shows a figure this wide with 9 point text still readable. A letter takes so much at most.
WIDTH, LETTER = 3.7, 0.075
# Text and axes; in a page this very colour becomes the page's own.
INK = "#1b1f24"
# Marks and lines, at a contrast of at least 3 to a light page and to a dark one. No colour has the 4.5 that text needs
# to both: text is in ink.
MUTED, TAKEN, RIGHT, WRONG = "#80868f", "#3d7eff", "#24996a", "#e5534b"
PALETTE = (TAKEN, "#cf6f28", RIGHT, "#b36ae2", "#a98000", "#e5599a", "#1492ac", MUTED)

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "svg.fonttype": "none",  # the browser's fonts: small, searchable, and they know every script
    "svg.hashsalt": "moe",
    # A class may be called a$b.
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": MUTED,
    "grid.alpha": 0.3,
    "legend.frameon": False,
}


@contextmanager
def style() -> Iterator[None]:
    """Within it figures are made and drawn in this report's style; matplotlib's settings come back after it."""
    from matplotlib import rc_context

    with rc_context(STYLE):
        yield


def svg(figure: "Figure", name: str) -> str:
    """The figure as inline SVG; `name`, unlike any other of the page, is all that a screen reader says of it."""
    text = io.StringIO()
    with style(), warnings.catch_warnings():
        # The browser has the letters that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    body = text.getvalue()
    mark = f"f{zlib.crc32(name.encode()):08x}-"

    def own(tag: re.Match[str]) -> str:
        # All figures of a page share its ids.
        marked = re.sub(
            r'(\bid="|"#|url\(#)', lambda found: found.group() + mark, tag.group().replace(INK, "currentColor")
        )
        return marked.replace("<svg ", f'<svg role="img" aria-label="{escape(name)}" ')

    # Tags alone: a text may hold anything.
    return re.sub(r"<[^>]+>", own, body[body.index("<svg") :])


def standalone(drawn: str) -> bytes:
    """What `svg` drew as a file, which has no page to take its colour from: in a grey for white and for black."""
    return drawn.replace("currentColor", "#6b7280").encode()


def short(name: str, most: int = 20) -> str:
    """A name cut to `most` letters."""
    return name if len(name) <= most else name[: most - 1] + "…"
