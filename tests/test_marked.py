"""Tables between marks."""

from pathlib import Path

import pytest

from moe.report.marked import markdown, put

MARKS = ("<!-- table -->", "<!-- end -->")


def test_a_table_takes_the_place_of_what_is_between_its_marks(tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.write_text("before\n<!-- table -->\nold\n\n| a |\n<!-- end -->\nafter\n")
    put(file, MARKS, r"| new \1 |")
    assert file.read_text() == "before\n<!-- table -->\n| new \\1 |\n<!-- end -->\nafter\n"


def test_a_file_without_the_marks_is_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.write_text("nothing\n")
    with pytest.raises(ValueError, match="has 0 places"):
        put(file, MARKS, "new")
    assert file.read_text() == "nothing\n"


def test_names_begin_at_the_left_and_numbers_end_right() -> None:
    assert markdown(["gate", "n", "why"], [["mlp", "3", "width"], ["conv", "3", ""]], (0, 2)) == (
        "| gate | n | why |\n| --- | --: | --- |\n| mlp | 3 | width |\n| conv | 3 |  |"
    )
    assert markdown(["gate", "n"], []) == "| gate | n |\n| --- | --: |"
