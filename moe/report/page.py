"""The page's HTML: one file, styled within, for light and dark, for a phone and a desk."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from moe.checks import scalars

REPORT = "report.html"  # the page of a run, in its folder
STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --page: #ffffff; --soft: #6b7280; --line: #d8dce2; --box: #f5f6f8;
  --warn: #fff1d6; --warn-ink: #6b4300 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --page: #14171b; --soft: #9aa2ad; --line: #343a42;
  --box: #1d2127; --warn: #4a3200; --warn-ink: #ffe3ad } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1rem; max-width: 76rem; color: var(--ink); background: var(--page);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere }
h1 { font-size: 1.6rem; line-height: 1.25; margin: .5rem 0 }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem; padding-top: .75rem; border-top: 1px solid var(--line) }
h3 { font-size: 1rem; margin: 1rem 0 .25rem }
p, ul { margin: .5rem 0; max-width: 46rem }
.soft { color: var(--soft) }
.warning { background: var(--warn); color: var(--warn-ink); padding: .75rem 1rem; border-radius: .5rem;
  font-weight: 600 }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left; padding-left: 0 }
thead th { color: var(--soft); font-weight: 600; vertical-align: bottom }
.words th, .words td { text-align: left; white-space: normal; vertical-align: top; min-width: 7rem }
.left { text-align: left }
.sortable th:first-child, .sortable td:first-child { position: sticky; left: 0; background: var(--page);
  padding-right: .5rem }
.sortable tbody tr:hover td { background: var(--box) }
th button { font: inherit; color: inherit; background: none; border: 0; padding: .2rem 0; cursor: pointer;
  white-space: nowrap }
th button::after { content: " \\2195"; opacity: .35 }
th[aria-sort] { color: var(--ink) }
th[aria-sort=ascending] button::after { content: " \\2191"; opacity: 1 }
th[aria-sort=descending] button::after { content: " \\2193"; opacity: 1 }
a { color: inherit }
.grid { display: grid; margin: .75rem 0; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)) }
figure { margin: 0; background: var(--box); border-radius: .5rem; padding: .6rem; align-self: start; min-width: 0 }
figcaption { font-weight: 600; font-size: .95rem; margin-bottom: .25rem }
svg { display: block; width: 100%; height: auto; max-width: 30rem; margin: 0 auto }
svg text { font-family: system-ui, sans-serif }
details { margin: .75rem 0 }
summary { cursor: pointer; font-weight: 600 }
pre { background: var(--box); padding: .75rem; border-radius: .5rem; overflow-x: auto; font-size: .8rem }
"""


def document(title: str, parts: Sequence[str]) -> str:
    """A whole page; `parts` are HTML already."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body>\n</html>\n"
    )


def heading(text: str) -> str:
    """The page's heading."""
    return f"<h1>{escape(text)}</h1>"


def code(text: str) -> str:
    """Plain text as it stands."""
    return f"<pre>{escape(text)}</pre>"


def section(title: str, *parts: str) -> str:
    """A heading over `parts`, HTML already; nothing where all of them are empty."""
    filled = [part for part in parts if part]
    return f"<h2>{escape(title)}</h2>\n" + "\n".join(filled) if filled else ""


def paragraph(text: str | None, kind: str = "") -> str:
    """Plain text as a paragraph of class `kind`; nothing for no text."""
    return f'<p class="{kind}">{escape(text)}</p>' if text else ""


def bullets(texts: Sequence[str]) -> str:
    """Plain texts as a list; nothing for none."""
    return "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ul>" if texts else ""


def table(heading: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> str:
    """Plain texts in a table that scrolls by itself where the screen is narrow; nothing for no rows."""
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in heading)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>\n" for row in rows)
    return (
        f'<div class="wide"><table class="{kind}"><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>'
    )


def figures(drawings: Mapping[str, str]) -> str:
    """SVG drawings by caption, as many beside each other as there is room for."""
    each = "\n".join(
        f"<figure><figcaption>{escape(name)}</figcaption>{drawing}</figure>" for name, drawing in drawings.items()
    )
    return f'<div class="grid">{each}</div>' if drawings else ""


def details(summary: str, content: str, is_open: bool = False) -> str:
    """HTML that opens on a click, or closes on one."""
    return f"<details{' open' * is_open}><summary>{escape(summary)}</summary>\n{content}</details>" if content else ""


def facts(values: Mapping[str, Any]) -> str:
    """Nested plain values as a table of dotted names."""
    return table(
        ("key", "value"), [(name, str(value)) for name, value in scalars(values) if value is not None], "words"
    )
