"""Names for the axes of what an explainer brings out: the ruler, and queries and keys of maps."""

from keras_attn_xai.records import AttentionMap


def ruler(side, seated):
    """Labels (B, S) of the positions of an input; of one without positions, of its players."""
    known = positions(side)
    if known is not None:
        return known[0]
    _, players, _ = seated.seats[0]
    return players.labels


def positions(side):
    """Labels and mask (B, S) of an input's positions, None where it has none: tokens, or steps of a series."""
    if side.is_ids and side.array.ndim == 2:
        return side.pieces, side.real
    if side.array.ndim != 3 or side.is_ids:
        return None
    real = side.real if side.real.ndim == 2 else side.real[:, None].repeat(side.array.shape[1], axis=1)
    return tuple(tuple(f"step {i}" if there else "" for i, there in enumerate(row)) for row in real), real


def map_record(name, weights, sides):
    """A record of one call's weights (B, H, T, S'); positions of an input get their words, others a number.

    Parameters
    ----------
    name : str
    weights : float array (B, H, T, S')
    sides : list of Side

    Returns
    -------
    AttentionMap
    """
    rows, _, queries, keys = weights.shape
    known = [one for one in map(positions, sides) if one is not None]

    def axis(count, word):
        """Labels and mask of one axis."""
        fitting = [one for one in known if one[1].shape[1] == count]
        if len(fitting) == 1:
            return fitting[0]
        mask = fitting[0][1] if fitting and all((one[1] == fitting[0][1]).all() for one in fitting) else None
        names = (word,) if count == 1 else tuple(f"{word} {i}" for i in range(count))
        return (names,) * rows, mask

    query_labels, query_mask = axis(queries, "query")
    key_labels, mask = axis(keys, "key")
    return AttentionMap(name, weights, query_labels, key_labels, query_mask, mask)
