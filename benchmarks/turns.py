"""A run beside the plain forward pass of as many rows: the two take turns, so that what slows one slows the other."""

import time

import numpy as np
import tensorflow as tf

SIZES = (256, 512, 1024, 2048)


def seconds(run):
    """How long a call takes, and what it returns."""
    start = time.perf_counter()
    found = run()
    return time.perf_counter() - start, found


def in_turns(forward, ids, count, run, *, rounds):
    """Print the times of ``run`` and of the forward pass on ``count`` rows at its best batch size, and their ratio."""
    rows = np.resize(ids, (count, ids.shape[1]))

    def plain(size):
        """The forward pass over as many rows, cut into batches."""
        for start in range(0, len(rows), size):
            forward(tf.constant(rows[start : start + size]))[0].numpy()

    best = min(SIZES, key=lambda size: min(seconds(lambda: plain(size))[0] for _ in range(3)))
    ratios = []
    for _ in range(rounds):
        floor, _ = seconds(lambda: plain(best))
        took, _ = seconds(run)
        ratios.append(took / floor)
        print(
            f"  {took:.2f} s; the forward pass, {best} rows at once: {floor:.2f} s; ratio {ratios[-1]:.2f}", flush=True
        )
    print(f"median ratio of {rounds} rounds: {np.median(ratios):.2f}")
