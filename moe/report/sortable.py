"""A table that a click on a heading sorts; without JavaScript it is a table in the order it was written in."""

from collections.abc import Mapping, Sequence
from html import escape

from moe.comparison.columns import Column

# A heading becomes a button only where the script runs. Blanks stay last, equals in their order; numbers go first
# from the largest, names from A.
SCRIPT = """
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  const value = (row, column) => {
    const said = row.cells[column].dataset.value;
    return said === undefined ? null : heads[column].dataset.kind === "number" ? Number(said) : said;
  };
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const first = head.dataset.first, other = first === "ascending" ? "descending" : "ascending";
      const order = head.getAttribute("aria-sort") === first ? other : first;
      heads.forEach((one) => one.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const rows = [...body.rows].sort((a, b) => {
        const x = value(a, column), y = value(b, column);
        if (x === null || y === null) return (x === null) - (y === null);
        return sign * (typeof x === "number" ? x - y : x.localeCompare(y, undefined, { numeric: true }));
      });
      body.append(...rows);
    });
  });
}
"""


def table(label: str, columns: Sequence[Column], sorted_by: str = "", links: Mapping[str, str] | None = None) -> str:
    """The columns as a table that scrolls by itself, named `label` for screen readers.

    `sorted_by` is the title of the column, largest first, that the rows are in the order of; `links` says where
    cells that say its keys lead.
    """
    head = "".join(_heading(column, place == 0, column.title == sorted_by) for place, column in enumerate(columns))
    count = len(columns[0].cells)
    body = "".join(f"<tr>{''.join(_cell(column, i, links or {}) for column in columns)}</tr>\n" for i in range(count))
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{escape(label)}"><table class="sortable">'
        f"<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>"
    )


def script() -> str:
    """What makes the page's tables sort; once, after the last of them."""
    return f"<script>{SCRIPT}</script>"


def _heading(column: Column, numbering: bool, is_sorted: bool) -> str:
    number = any(isinstance(value, int | float) for value in column.values)
    first = "descending" if number and not numbering else "ascending"
    order = ' aria-sort="descending"' if is_sorted else ""
    kind = "number" if number else "words"
    align = ' class="left"' if column.left else ""
    marks = f'data-kind="{kind}" data-first="{first}"{order}{align}'
    return f'<th scope="col" {marks}><span>{escape(column.title)}</span></th>'


def _cell(column: Column, row: int, links: Mapping[str, str]) -> str:
    said, value = column.cells[row], column.values[row]
    sort = "" if value is None else f' data-value="{escape(str(value))}"'
    align = ' class="left"' if column.left else ""
    text = escape(said.strip())
    if said in links:
        text = f'<a href="{escape(links[said])}">{text}</a>'
    return f"<td{sort}{align}>{text}</td>"
