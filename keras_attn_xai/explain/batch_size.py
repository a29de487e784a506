"""How many rows the model is given at once: what fits in memory, and of that what is fastest here."""

import numpy as np

SIZES = (512, 1024, 2048)
NUMBERS = 2**22  # of the inputs, in a batch
PAIRS = 2**24  # of positions, in a batch: what attention keeps for each head


class BatchSize:
    """The next batch's size, and a memory of how long batches took.

    Parameters
    ----------
    given : int or None
        The user's own, which is then always taken.
    inputs : list of arrays (B, ...)
        Rows as they will come.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.explain.batch_size import BatchSize
    >>> short, long = (np.zeros((1, words), int) for words in (40, 600))
    >>> BatchSize(None, [short]).sizes, BatchSize(None, [long]).sizes, BatchSize(7, [long]).sizes
    ((512, 1024, 2048), (46,), (7,))
    """

    def __init__(self, given, inputs):
        self.sizes = (given,) if given else _fitting(inputs)
        self._seconds: dict[int, float] = {}

    @property
    def next(self):
        """A size that has not been tried, else the fastest."""
        untried = [size for size in self.sizes if size not in self._seconds]
        return untried[0] if untried else min(self._seconds, key=lambda size: self._seconds[size])

    def took(self, size, seconds):
        """Remember how long a full batch took; the first of a size is not counted, it sets the model up."""
        if size not in self.sizes or len(self.sizes) == 1:
            return
        if size not in self._seconds:
            self._seconds[size] = np.inf
        elif self._seconds[size] == np.inf:
            self._seconds[size] = seconds / size
        else:
            self._seconds[size] = min(self._seconds[size], seconds / size)


def _fitting(inputs):
    """Sizes that memory allows, at least one."""
    numbers = sum(int(np.prod(one.shape[1:])) for one in inputs)
    series = [one.shape[1] for one in inputs if one.ndim == 3 or (one.ndim == 2 and one.dtype.kind in "iu")]
    most = max(1, min(NUMBERS // max(numbers, 1), PAIRS // max(series, default=1) ** 2))
    return tuple(size for size in SIZES if size <= most) or (min(most, SIZES[0]),)
