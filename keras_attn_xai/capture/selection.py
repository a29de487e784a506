"""What of each attention call a view shows: which calls, heads and how many weights a query."""

from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase

from keras import ops

from keras_attn_xai.errors import ArgumentError, ModelError
from keras_attn_xai.layers.top_weights import spread

PREFIX = "attention/"
INDEX = "attention_index/"
VALUE = "attention_value/"


@dataclass(frozen=True)
class Selection:
    """Which attention comes out.

    Parameters
    ----------
    layers : tuple of str, optional
        Names of layers or of calls, or patterns with ``*``; None is all.
    heads : tuple of int, or dict of str to tuple of int, optional
    top_k : int, optional
    values : bool, default False
    """

    layers: tuple | None = None
    heads: tuple | dict | None = None
    top_k: int | None = None
    values: bool = False

    def get_config(self):
        """The arguments, for saving."""
        return asdict(self)

    def wants(self, call):
        """Whether the call is among those that were asked for."""
        names = (call, call.split("#")[0])
        return self.layers is None or any(fnmatchcase(name, one) for name in names for one in self.layers)

    def shown(self, call, seen):
        """What comes out of one call, by the name of the output.

        Parameters
        ----------
        call : str
        seen : Seen

        Returns
        -------
        dict of str to tensor
        """
        weights, indices = self._weights(call, seen)
        values = seen.values() if self.values else None
        heads = self._heads(call, weights.shape[1])
        parts = {PREFIX: weights, INDEX: indices, VALUE: values}
        return {
            prefix + call: part if heads is None else ops.take(part, ops.convert_to_tensor(heads, "int32"), axis=1)
            for prefix, part in parts.items()
            if part is not None
        }

    def _weights(self, call, seen):
        weights, indices = seen.weights, seen.indices
        if len(weights.shape) != 4:
            raise ModelError(
                f"The attention call '{call}' has weights of shape {tuple(weights.shape)}; maps are (B, H, T, S), so "
                "attention over several axes at once is not supported."
            )
        if self.top_k is None:
            return weights if indices is None else spread(weights, indices, seen.positions), None
        if indices is not None:
            if weights.shape[-1] >= self.top_k:  # the layer's own, largest first: never spread out
                return weights[..., : self.top_k], indices[..., : self.top_k]
            weights = spread(weights, indices, seen.positions)
        if weights.shape[-1] is not None and weights.shape[-1] < self.top_k:
            raise ArgumentError(f"'{call}' has {weights.shape[-1]} keys; top_k={self.top_k} asks for more.")
        weights, indices = ops.top_k(weights, self.top_k)
        return weights, ops.cast(indices, "int32")

    def _heads(self, call, count):
        heads = self.heads
        if isinstance(heads, dict):
            heads = next((heads[name] for name in (call, call.split("#")[0]) if name in heads), None)
        if heads is None:
            return None
        outside = [head for head in heads if not -count <= head < count]
        if outside:
            raise ArgumentError(f"'{call}' has {count} heads, 0 to {count - 1}; received head {outside[0]}.")
        return [head % count for head in heads]


EVERYTHING = Selection()


def select(*, layers=None, heads=None, top_k=None, values=False):
    """A `Selection` of arguments as users write them.

    Raises
    ------
    ArgumentError
        One that cannot be meant.
    """
    if isinstance(layers, str):
        layers = (layers,)
    is_list = isinstance(layers, (list, tuple)) and len(layers) > 0 and all(isinstance(one, str) for one in layers)
    if layers is not None and not is_list:
        raise ArgumentError(
            f"layers must be a name, a pattern or a list of them, or None for all; received {layers!r}."
        )
    if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 1):
        raise ArgumentError(f"top_k must be a positive integer or None; received {top_k!r}.")
    if isinstance(heads, dict):
        heads = {call: _numbers(some) for call, some in heads.items()}
    elif heads is not None:
        heads = _numbers(heads)
    return Selection(None if layers is None else tuple(layers), heads, top_k, bool(values))


def _numbers(heads):
    if not isinstance(heads, (list, tuple, range)):
        heads = (heads,)
    if not heads or not all(isinstance(one, int) and not isinstance(one, bool) for one in heads):
        raise ArgumentError(
            f"heads must be an integer, a list of them, or a dict from call name to a list; received {heads!r}."
        )
    return tuple(heads)
