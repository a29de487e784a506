"""A figure of its own: outside pyplot's list of open figures, yet shown by Jupyter, and so are its axes."""

import io

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


class Canvas(Figure):
    """A matplotlib figure that displays itself at the end of a notebook cell."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        FigureCanvasAgg(self)

    def _repr_png_(self):
        with io.BytesIO() as png:
            self.savefig(png, format="png", facecolor=self.get_facecolor())
            return png.getvalue()


class CanvasAxes(Axes):
    """The only axes of a `Canvas`, which display it at the end of a notebook cell."""

    def _repr_png_(self):
        return self.get_figure()._repr_png_()
