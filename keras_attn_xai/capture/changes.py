"""What can be done to attention weights before they meet the values: one class a change, one function to make each.

Shapes: B batch, H heads, T query positions, S key positions.
"""

import math
from numbers import Real

import keras
import numpy as np
from keras import ops

from keras_attn_xai.errors import ArgumentError, ShapeError
from keras_attn_xai.layers import functional

PACKAGE = "keras_attn_xai"


class Change:
    """One change of attention weights; `intervene` applies it."""

    def apply(self, weights, allowed=None, rows=None, *, call=""):
        """The weights after the change.

        Parameters
        ----------
        weights : tensor (B, H, T, S)
        allowed : bool tensor broadcastable to the weights, optional
            The keys a query may see; None is all.
        rows : int tensor (T,), optional
            Which queries these are, where a layer takes some at a time; None is all.
        call : str
            Name of the call, for messages.

        Returns
        -------
        tensor (B, H, T, S)
        """
        raise NotImplementedError

    def get_config(self):
        """The arguments, for saving."""
        return dict(vars(self))

    @classmethod
    def from_config(cls, config):
        """The change of `get_config`."""
        return cls(**config)

    def __repr__(self):
        given = ", ".join(f"{name}={value!r}" for name, value in vars(self).items() if value is not None)
        return f"{type(self).__name__.lower()}({given})"


@keras.saving.register_keras_serializable(package=PACKAGE)
class Permute(Change):
    """See `permute`."""

    def __init__(self, seed):
        self.seed = seed

    def apply(self, weights, allowed=None, rows=None, *, call=""):
        kept = _full(allowed, weights)
        key = ops.broadcast_to(_axis_of(weights, 3), ops.shape(weights))
        last = ops.full_like(key, 2**31 - 1)
        shuffled = ops.argsort(ops.where(kept, _noise(weights, rows, self.seed), last), axis=-1)
        in_order = ops.argsort(ops.where(kept, key, last), axis=-1)
        place = ops.argsort(in_order, axis=-1)
        # the n-th key that may be seen gets the weight of the n-th after shuffling; the others have none to give
        moved = ops.take_along_axis(ops.take_along_axis(weights, shuffled, axis=-1), place, axis=-1)
        return ops.where(kept, moved, weights)


@keras.saving.register_keras_serializable(package=PACKAGE)
class Uniform(Change):
    """See `uniform`."""

    def apply(self, weights, allowed=None, rows=None, *, call=""):
        kept = ops.cast(_full(allowed, weights), "float32")
        count = ops.sum(kept, axis=-1, keepdims=True)
        return ops.cast(kept / ops.maximum(count, 1), weights.dtype)


@keras.saving.register_keras_serializable(package=PACKAGE)
class Zero(Change):
    """See `zero`."""

    def __init__(self, heads=None, pairs=None, renormalize=False):
        self.heads = None if heads is None else [int(head) for head in np.atleast_1d(heads)]
        self.pairs = None if pairs is None else [[int(query), int(key)] for query, key in pairs]
        self.renormalize = renormalize

    def apply(self, weights, allowed=None, rows=None, *, call=""):
        gone = ops.ones((1, 1, 1, 1), dtype="bool")
        if self.heads is not None:
            heads = _heads(self.heads, weights, call)
            here = [head in heads for head in range(weights.shape[1])]
            gone = ops.reshape(ops.convert_to_tensor(here), (1, -1, 1, 1))
        if self.pairs is not None:
            queries, keys = np.array(self.pairs, "int32").reshape(-1, 2).T
            at_query = ops.equal(_rows_of(weights, rows)[:, None, None], queries)  # (T, 1, P)
            at_key = ops.equal(_axis_of(weights, 3)[:, None], keys)  # (S, P)
            gone = ops.logical_and(gone, ops.any(ops.logical_and(at_query, at_key), axis=-1))
        left = ops.where(gone, ops.zeros_like(weights), weights)
        return _with_the_sum_of(left, weights) if self.renormalize else left


@keras.saving.register_keras_serializable(package=PACKAGE)
class SetTo(Change):
    """See `set_to`."""

    def __init__(self, array):
        self.array = array = np.asarray(array)
        if not 2 <= array.ndim <= 4 or array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise ArgumentError(
                "set_to takes finite numbers of shape (T, S), (H, T, S) or (B, H, T, S); received shape "
                f"{array.shape}, dtype {array.dtype}."
            )

    def apply(self, weights, allowed=None, rows=None, *, call=""):
        array = self.array.reshape((1,) * (4 - self.array.ndim) + self.array.shape)
        queries = None if rows is not None else weights.shape[2]
        for letter, size, wanted in zip(
            "BHTS", array.shape, (weights.shape[0], weights.shape[1], queries, weights.shape[3]), strict=True
        ):
            if None not in (size, wanted) and size not in (1, wanted):
                raise ShapeError(
                    f"set_to for '{call}' has {letter} = {size}, and the weights are (B, H, T, S) = "
                    f"{tuple(weights.shape)}; give (T, S), (H, T, S) or (B, H, T, S) that fit."
                )
        given = ops.convert_to_tensor(array, dtype=weights.dtype)
        if rows is not None and array.shape[2] != 1:
            given = ops.take(given, rows, axis=2)
        return ops.broadcast_to(given, ops.shape(weights))

    def get_config(self):
        return {"array": self.array.tolist()}

    def __repr__(self):
        return f"setto(array of shape {self.array.shape})"


@keras.saving.register_keras_serializable(package=PACKAGE)
class Temperature(Change):
    """See `temperature`."""

    def __init__(self, t):
        self.t = t

    def apply(self, weights, allowed=None, rows=None, *, call=""):
        exact = ops.cast(weights, functional.accumulation_dtype(keras.backend.standardize_dtype(weights.dtype)))
        some = exact > 0  # also keeps the gradient at 0 finite
        scores = ops.where(some, ops.log(ops.where(some, exact, 1)) / self.t, -1e30)
        powers = ops.where(some, ops.exp(scores - ops.max(scores, axis=-1, keepdims=True)), 0)
        return ops.cast(_with_the_sum_of(powers, exact), weights.dtype)


@keras.saving.register_keras_serializable(package=PACKAGE)
class Custom(Change):
    """A function of the user's: weights (B, H, T, S) in, weights of the same shape out."""

    def __init__(self, function):
        self.function = function

    def apply(self, weights, allowed=None, rows=None, *, call=""):
        changed = ops.convert_to_tensor(self.function(weights))
        fits = len(changed.shape) == 4 and all(
            None in (got, wanted) or got == wanted for got, wanted in zip(changed.shape, weights.shape, strict=True)
        )
        if not fits:
            raise ShapeError(
                f"The change for '{call}' must return weights of the shape it got, (B, H, T, S) = "
                f"{tuple(weights.shape)}; it returned {tuple(changed.shape)}."
            )
        return ops.cast(changed, weights.dtype)

    def get_config(self):
        return {"function": keras.saving.serialize_keras_object(self.function)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config["function"]))

    def __repr__(self):
        return getattr(self.function, "__name__", repr(self.function))


@keras.saving.register_keras_serializable(package=PACKAGE)
class Chain(Change):
    """Several changes, one after the other."""

    def __init__(self, changes):
        self.changes = tuple(changes)

    def apply(self, weights, allowed=None, rows=None, *, call=""):
        for change in self.changes:
            weights = change.apply(weights, allowed, rows, call=call)
        return weights

    def get_config(self):
        return {"changes": [keras.saving.serialize_keras_object(one) for one in self.changes]}

    @classmethod
    def from_config(cls, config):
        return cls([keras.saving.deserialize_keras_object(one) for one in config["changes"]])


def permute(seed=0):
    """Shuffle each row's weights among the keys it may see.

    Parameters
    ----------
    seed : int, default 0
        The same seed gives the same permutation to a row of the same place in its batch, head and query.

    Returns
    -------
    Change

    References
    ----------
    Jain and Wallace 2019, "Attention is not explanation" (arXiv:1902.10186), section 4.2.1.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.capture import permute
    >>> weights = np.array([[[[0.7, 0.2, 0.1]]]])
    >>> np.sort(np.array(permute(seed=1).apply(weights))).ravel()
    array([0.1, 0.2, 0.7])
    """
    if not isinstance(seed, (int, np.integer)):
        raise ArgumentError(f"seed must be an integer; received {seed!r}.")
    return Permute(int(seed))


def uniform():
    """Give every key that a query may see the same weight; a row that sees none stays empty.

    Returns
    -------
    Change

    References
    ----------
    Wiegreffe and Pinter 2019, "Attention is not not explanation" (arXiv:1908.04626), section 3.2.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.capture import uniform
    >>> np.array(uniform().apply(np.array([[[[0.9, 0.1, 0.0]]]]), allowed=np.array([True, True, False])))
    array([[[[0.5, 0.5, 0. ]]]])
    """
    return Uniform()


def zero(heads=None, pairs=None, *, renormalize=False):
    """Take weights away: of whole heads, or of (query, key) pairs, or of pairs in some heads.

    Parameters
    ----------
    heads : int or list of int, optional
        By default all.
    pairs : list of (int, int), optional
        Positions of query and key, from 0; by default all.
    renormalize : bool, default False
        Share what was taken among the row's other keys, as masking the scores would.

    Returns
    -------
    Change

    Raises
    ------
    ArgumentError
        Neither heads nor pairs.

    References
    ----------
    Heads: Michel, Levy and Neubig 2019, "Are sixteen heads really better than one?" (arXiv:1905.10650). Pairs: Geva
    et al. 2023, "Dissecting recall of factual associations" (arXiv:2304.14767), whose knockout renormalises.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.capture import zero
    >>> weights = np.array([[[[0.5, 0.25, 0.25]]]])
    >>> np.array(zero(pairs=[(0, 1)]).apply(weights)).ravel()
    array([0.5 , 0.  , 0.25])
    """
    if heads is None and pairs is None:
        raise ArgumentError("zero needs heads=, pairs= or both; to empty a whole call name all its heads.")
    return Zero(heads, pairs, renormalize)


def set_to(array):
    """Replace the weights.

    Parameters
    ----------
    array : float array (T, S), (H, T, S) or (B, H, T, S)
        An axis of size 1 is repeated. Rows need not sum to 1.

    Returns
    -------
    Change

    Raises
    ------
    ArgumentError
        Another rank, or numbers that are not finite. `intervene` raises a ShapeError when the sizes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.capture import set_to
    >>> np.array(set_to([[0.0, 1.0]]).apply(np.array([[[[0.5, 0.5], [0.1, 0.9]]]])))
    array([[[[0., 1.],
             [0., 1.]]]])
    """
    return SetTo(array)


def temperature(t):
    """Sharpen (t < 1) or flatten (t > 1) each row: for a softmax the same as dividing its scores by t.

    Parameters
    ----------
    t : float
        Above 0. The sum of a row stays; a weight of 0 stays 0.

    Returns
    -------
    Change

    Raises
    ------
    ArgumentError
        A t that is not above 0.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.capture import temperature
    >>> np.array(temperature(0.5).apply(np.array([[[[0.75, 0.25]]]], "float32"))).round(6)  # squares, 9 to 1
    array([[[[0.9, 0.1]]]], dtype=float32)
    """
    if not isinstance(t, Real) or not 0 < float(t) < math.inf:
        raise ArgumentError(f"temperature must be a number above 0; received {t!r}.")
    return Temperature(float(t))


def as_change(call, given):
    """A `Change`, made of a callable if it is one."""
    if isinstance(given, Change):
        return given
    if callable(given):
        return Custom(given)
    raise ArgumentError(
        f"The change for '{call}' must be permute(), uniform(), zero(), set_to(), temperature() or a callable from "
        f"weights (B, H, T, S) to weights; received {given!r}."
    )


def _axis_of(weights, axis):
    """The places along an axis, 0 to its size."""
    return ops.arange(ops.shape(weights)[axis], dtype="int32")


def _rows_of(weights, rows):
    return _axis_of(weights, 2) if rows is None else ops.cast(rows, "int32")


def _full(allowed, weights):
    """The mask in the shape of the weights."""
    everywhere = ops.ones_like(weights, dtype="bool")
    return everywhere if allowed is None else ops.logical_and(everywhere, allowed)


def _with_the_sum_of(weights, before):
    """Rows scaled to the sums they had before; a row of nothing stays so."""
    wanted, total = (ops.sum(one, axis=-1, keepdims=True) for one in (before, weights))
    some = total > 0
    return ops.where(some, weights * wanted / ops.where(some, total, 1), weights)


def _heads(heads, weights, call):
    count = weights.shape[1]
    outside = [head for head in heads if not -count <= head < count]
    if outside:
        raise ArgumentError(f"'{call}' has {count} heads, 0 to {count - 1}; received head {outside[0]}.")
    return [head % count for head in heads]


def _noise(weights, rows, seed):
    """Integers (B, H, T, S) in [0, 2^30) that depend on the place and the seed alone: a hash.

    A random generator would give the blocks and steps of a loop all the same numbers.
    """
    places = [_axis_of(weights, 0), _axis_of(weights, 1), _rows_of(weights, rows), _axis_of(weights, 3)]
    mixed = ops.full((1, 1, 1, 1), seed % 2**31, dtype="int32")
    for axis, place in enumerate(places):
        place = ops.reshape(place, [-1 if axis == one else 1 for one in range(4)])
        mixed = _scrambled(ops.bitwise_xor(mixed, place * np.int32(-1640531527)))  # 2^32 over the golden ratio
    return ops.bitwise_and(mixed, 2**30 - 1)


def _scrambled(number):
    """The finaliser of MurmurHash3 (Appleby 2011), in 32-bit arithmetic that wraps around."""
    for shift, factor in ((16, -2048144789), (13, -1028477387), (16, 1)):
        shifted = ops.bitwise_and(ops.right_shift(number, shift), 2 ** (32 - shift) - 1)  # without the sign
        number = ops.bitwise_xor(number, shifted) * np.int32(factor)
    return number
