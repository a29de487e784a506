"""Series of which a few steps decide."""

import numpy as np

from keras_attn_xai.datasets.planted_task import PlantedTask, balanced, require_count
from keras_attn_xai.errors import ArgumentError


def planted_series(rows, *, seed=0, steps=24, features=2, width=3, height=4.0):
    """Noise with one pulse; the label is whether it goes up or down.

    Parameters
    ----------
    rows : int
    seed : int, default 0
    steps : int, default 24
    features : int, default 2
        The pulse is in the first; the others are noise alone.
    width : int, default 3
        Steps of the pulse.
    height : float, default 4.0
        Added to each step of the pulse, or taken from it, in standard deviations of the noise.

    Returns
    -------
    PlantedTask
        ``x`` (B, T, F) floats; ``y`` (B,), 0 is down and 1 is up, one as often as the other; ``truth`` (B, T), True at
        the steps of the pulse. Its background is the noise's mean, 0.

    Raises
    ------
    ArgumentError
        A count below 1, a pulse wider than the series, or a height that is not above 0.

    Notes
    -----
    Noise and place are drawn without regard to the label; every place the pulse fits is as likely, so that steps near
    the ends are in it less often. The noise lies on the pulse too: with a small height no model can be always right.

    Examples
    --------
    >>> from keras_attn_xai.datasets import planted_series
    >>> task = planted_series(100, height=50.0)
    >>> up = task.x[..., 0][task.truth].reshape(100, 3).min(axis=1) > 0
    >>> bool((up == task.y).all()), int(task.truth.sum(axis=1).max())
    (True, 3)
    """
    rows, steps, features = (
        require_count("rows", rows),
        require_count("steps", steps),
        require_count("features", features),
    )
    width = require_count("width", width)
    if width > steps or not height > 0:
        raise ArgumentError(
            f"width must be at most steps and height above 0; received width {width}, steps {steps}, height {height!r}."
        )
    draw = np.random.default_rng(seed)
    y = balanced(draw, rows, 2)
    late = np.arange(steps) - draw.integers(0, steps - width + 1, rows)[:, None]
    truth = (late >= 0) & (late < width)
    x = draw.normal(size=(rows, steps, features))
    x[..., 0] += truth * np.where(y == 1, height, -height)[:, None]
    rule = f"A pulse of {width} steps in the first feature, up or down; the rest is noise."
    return PlantedTask(x, y, truth, rule, np.ones(truth.shape, bool), 2, background=0.0, players="steps")
