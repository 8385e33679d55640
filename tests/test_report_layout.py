"""Names beside the dots of a figure."""

from itertools import combinations

from matplotlib.backends.backend_agg import FigureCanvasAgg

from moe.report.figure import WIDTH, style
from moe.report.layout import name_dots, new_axes

# Two that nearly coincide, one at each edge, and a column of four.
POINTS = [(1.0, 50.0), (1.02, 50.2), (0.0, 1.0), (10.0, 99.0), *((5.0, 40.0 + 2 * step) for step in range(4))]
NAMES = ["one", "tuned_cascade", "left", "ensemble", "alpha", "beta", "gamma", "delta"]


def test_no_name_lies_on_another_nor_on_a_dot_nor_beyond_the_figure() -> None:
    with style():
        figure, axes = new_axes(0.6, 0.5, WIDTH - 0.75, 3.2, 0.1)
        axes.plot(*zip(*POINTS, strict=True), "o", markersize=4.5)
        name_dots(axes, POINTS, NAMES)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        texts = {text.get_text(): text for text in axes.texts}
        boxes = {name: text.get_tightbbox(canvas.get_renderer()) for name, text in texts.items()}
        places = axes.transData.transform(POINTS)
    assert list(texts) == NAMES
    words = {name: super(type(text), text).get_window_extent(canvas.get_renderer()) for name, text in texts.items()}
    assert not [pair for pair in combinations(words, 2) if words[pair[0]].overlaps(words[pair[1]])]
    assert not [(name, dot) for name, box in words.items() for dot in places if box.contains(*dot)]
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0 for box in boxes.values())
    # What is alone has its name at its side; of two that coincide one has a line to it.
    lines = {name for name, text in texts.items() if text.arrow_patch is not None}
    assert not {"left", "ensemble"} & lines and lines & {"one", "tuned_cascade"}


def test_no_name_lies_on_the_line_of_steps() -> None:
    # Level from the first dot to the second's place, then up to it, and on from it: through the names' first places.
    steps = [(2.0, 10.0), (6.0, 60.0), (9.0, 60.0)]
    with style():
        figure, axes = new_axes(0.6, 0.5, WIDTH - 0.75, 3.2, 0.1)
        axes.plot([0, 10], [0, 100], "o")
        for line in (steps, ()):
            name_dots(axes, steps[:2], ["one", "other"], line)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        words = [super(type(text), text).get_window_extent(canvas.get_renderer()) for text in axes.texts]
        corners = [tuple(corner) for corner in axes.transData.transform(steps)]
    level = [(corners[0], corners[1]), (corners[1], corners[2])] * 2
    on = [
        word.y0 < y < word.y1 and word.x0 < end and start < word.x1
        for word, ((start, y), (end, _)) in zip(words, level, strict=True)
    ]
    assert on == [False, False, True, True]
    (_, below), (x, above) = corners[:2]
    assert not [word for word in words[:2] if word.x0 < x < word.x1 and below < word.y1 and word.y0 < above]
