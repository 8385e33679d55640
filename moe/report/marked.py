"""Tables in Markdown files, between marks that say what makes them."""

import re
from pathlib import Path


def put(file: Path, marks: tuple[str, str], text: str) -> None:
    """Put `text` between the two marks of a file, in place of what is there. Raises ValueError where it lacks them."""
    pattern = re.escape(marks[0]) + ".*?" + re.escape(marks[1])
    whole = f"{marks[0]}\n{text}\n{marks[1]}"
    after, count = re.subn(pattern, lambda _: whole, file.read_text(), flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"{file} has {count} places for a table between {marks[0]} and {marks[1]}, not one")
    file.write_text(after)
