"""Images of which one patch decides."""

import numpy as np

from keras_attn_xai.datasets.planted_task import PlantedTask, balanced, one_of_each, require_count


def planted_image(rows, *, seed=0, patches=4, pixels=4):
    """Noise with a line in one patch; the label is whether it lies or stands.

    Parameters
    ----------
    rows : int
    seed : int, default 0
    patches : int, default 4
        Patches along each side, P.
    pixels : int, default 4
        Pixels along each side of a patch.

    Returns
    -------
    PlantedTask
        ``x`` (B, height, width, 1) in [0, 1], height and width P times ``pixels``; ``y`` (B,), 0 lies and 1 stands, one
        as often as the other; ``truth`` (B, P * P), True at the patch of the line, patches counted row by row. Its
        background is the noise's mean, 0.25, its players are the patches.

    Raises
    ------
    ArgumentError
        A count below 1, or a patch of fewer than 2 pixels a side.

    Notes
    -----
    Noise lies in [0, 0.5) and the line is 1. Lying or standing it has as many pixels, so that brightness says nothing;
    it crosses the middle of its patch, and the patch is drawn without regard to the label.

    Examples
    --------
    >>> from keras_attn_xai.datasets import planted_image
    >>> task = planted_image(100)
    >>> lines = task.x[..., 0] == 1
    >>> bool((lines.sum(axis=2).max(axis=1) == np.where(task.y == 0, 4, 1)).all())  # a lying one fills its row
    True
    >>> task.x.shape, task.truth.shape
    ((100, 16, 16, 1), (100, 16))
    """
    rows, patches, pixels = (
        require_count("rows", rows),
        require_count("patches", patches),
        require_count("pixels", pixels, 2),
    )
    draw = np.random.default_rng(seed)
    y = balanced(draw, rows, 2)
    truth = one_of_each(draw, np.ones((rows, patches**2), bool))
    across = np.arange(pixels) == pixels // 2
    lines = np.where(y[:, None, None] == 0, across[:, None], across[None, :])  # (B, pixels, pixels)
    noise = draw.uniform(0, 0.5, (rows, patches, pixels, patches, pixels))
    here = truth.reshape(rows, patches, 1, patches, 1) & lines[:, None, :, None, :]
    x = np.where(here, 1.0, noise).reshape(rows, patches * pixels, patches * pixels, 1)
    numbers = np.arange(patches**2).reshape(patches, patches)
    players = numbers.repeat(pixels, axis=0).repeat(pixels, axis=1)
    rule = "A line in one patch, lying or standing; the rest is noise."
    return PlantedTask(x, y, truth, rule, np.ones(truth.shape, bool), 2, background=0.25, players=players)
