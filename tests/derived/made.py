"""Maps made by hand, for the tests of derived maps."""

import numpy as np

from keras_attn_xai import AttentionMap

B, H, T, S, D = 2, 3, 5, 7, 11


def attention(name="mha", queries=T, keys=T, *, padding=0, seed=0, sparse=False, rows=B, **changes):
    """A map of softmax weights with values and gradients; its last `padding` positions are padding."""
    draw = np.random.default_rng(seed)
    mask = np.broadcast_to(np.arange(keys) < keys - padding, (rows, keys))
    weights = draw.dirichlet(np.full(keys, 0.5), size=(rows, H, queries)) * mask[:, None, None]
    if sparse:
        weights = np.where(weights > 0.1, weights, 0) + 1e-3 * mask[:, None, None]
    given = {
        "weights": weights / weights.sum(-1, keepdims=True),
        "query_labels": [[f"{name} q{r}.{t}" for t in range(queries)] for r in range(rows)],
        "key_labels": [[f"{name} k{r}.{s}" for s in range(keys)] for r in range(rows)],
        "query_mask": np.broadcast_to(
            np.arange(queries) < queries - (padding if queries == keys else 0), (rows, queries)
        ),
        "mask": mask,
        "values": draw.normal(size=(rows, H, keys, D)),
        "gradients": draw.normal(size=(rows, H, queries, keys)),
    }
    return AttentionMap(name, **{**given, **changes})


def layers(count=3, **kinds):
    """`count` maps of self-attention, from input to output."""
    return [attention(f"layer{i}", seed=i, **kinds) for i in range(count)]
