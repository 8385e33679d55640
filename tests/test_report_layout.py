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
