"""The calls of one attention layer during one pass: what is seen of each, and what is done to its weights."""

from typing import NamedTuple


class Seen(NamedTuple):
    """One attention call, as its layer's seam gives it away."""

    weights: object  # (B, H, T, S), or (B, H, T, k) beside indices; H = 1 for single-head layers
    values: object  # a callable that makes (B, H, S, D), or raises a ModelError that says why it cannot
    allowed: object = None  # bool, broadcastable to (B, H, T, S): which keys a query may see; None is all
    indices: object = None  # (B, H, T, k), the keys of the weights, of layers that keep the k largest
    positions: object = None  # S, where there are indices
    query_allowed: object = None  # bool (B, T): queries that are no padding, where the layer knows


class Listener:
    """One who follows the calls of a layer, under the name it has for it.

    Parameters
    ----------
    name : str
        Of the layer. Its first call has the same name, the second is ``name#1``.
    hear : callable
        ``hear(call name, Seen)``.
    changes : dict of str to Change
        By call name; the others' weights stay.
    """

    def __init__(self, name, hear, changes):
        self.name = name
        self.hear = hear
        self.changes = changes
        self.count = 0

    @property
    def current(self):
        """The name of the call that began last."""
        return self.name if self.count < 2 else f"{self.name}#{self.count - 1}"

    @property
    def change(self):
        """What is done to the weights of the current call, or None."""
        return self.changes.get(self.current)


class Calls:
    """The calls of one layer: its methods tell this object, which tells the listeners.

    A view inside a view listens to the same layers as the outer one; the inner one comes first.
    """

    def __init__(self):
        self.listeners = []

    def begin(self):
        """Note that the layer was called."""
        for one in self.listeners:
            one.count += 1

    @property
    def will_change(self):
        """Whether somebody changes the current call."""
        return any(one.change is not None for one in self.listeners)

    @property
    def current(self):
        """The name the current call has for the innermost listener."""
        return self.listeners[-1].current

    def changed(self, weights, allowed=None, rows=None):
        """The weights (B, H, T, S) of the current call after the changes; themselves if there are none.

        Parameters
        ----------
        weights : tensor (B, H, T, S)
        allowed : bool tensor broadcastable to the weights, optional
        rows : int tensor (T,), optional
            Which queries these are, where a layer takes some at a time.
        """
        for one in reversed(self.listeners):
            if one.change is not None:
                weights = one.change.apply(weights, allowed, rows, call=one.current)
        return weights

    def see(self, seen):
        """Hand on what was seen of the current call."""
        for one in reversed(self.listeners):
            one.hear(one.current, seen)
