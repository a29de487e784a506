"""Each rule conserves: in float64, on axes with primes of their own, one operation at a time."""

import numpy as np
import pytest
import tensorflow as tf

from keras_attn_xai.explain.deep import Deep
from keras_attn_xai.explain.deep.rules import RULES
from tests.explain.enumeration import shapley_values

B, R, T, S = 3, 2, 5, 7
raw, image = tf.raw_ops, tf.image


def draw(*shape, seed=0, low=-2.0, high=2.0):
    """Numbers between ``low`` and ``high``."""
    return np.random.default_rng(seed).uniform(low, high, shape)


def const(*shape):
    """A constant tensor."""
    return tf.constant(draw(*shape, seed=9))


def n(x):
    """How many rows."""
    return tf.shape(x)[0]


def turned(change):
    """A row for what works on the first axis: (N, S) is handed over as (S, N)."""
    return lambda *given: tf.transpose(change(*(tf.transpose(one) for one in given)))


def pool(x):
    """(N, T, S) as an image with one channel."""
    return raw.MaxPool(input=x[..., None], ksize=[1, 3, 2, 1], strides=[1, 2, 1, 1], padding="SAME")


def norm(op, x):
    """Batch normalization with known statistics."""
    known = {name: tf.constant(draw(S, low=0.5).astype("float32")) for name in ("scale", "offset", "mean", "variance")}
    return op(x=tf.cast(x, tf.float32), is_training=False, **known)[0]


ZERO = tf.zeros([], tf.float64)
TWO, BOX = ((2,), (1,)), (3, T, S, 2)
ONE = (T, S)  # shapes of inputs, without the rows
ROWS = {
    # linear
    "AddN": (lambda a, b: tf.add_n([a, b, a]), ONE, ONE),
    "AddV2": (lambda a, b: a + b[:, None], ONE, (S,)),
    "Add": (lambda a, b: raw.Add(x=a, y=b), ONE, ONE),
    "Sub": (lambda a, b: a - b[:, None], ONE, (S,)),
    "Neg": (lambda a: -a, ONE),
    "BiasAdd": (lambda a: raw.BiasAdd(value=a, bias=const(S)), ONE),
    "Reshape": (lambda a: tf.reshape(a, [-1, S * T]), ONE),
    "Squeeze": (lambda a: tf.squeeze(a, 2), (T, 1, S)),
    "ExpandDims": (lambda a: tf.expand_dims(a, 1) * const(2, T, S), ONE),
    "Transpose": (lambda a: tf.transpose(a, [1, 0, 2])[1], ONE),
    "ConjugateTranspose": (lambda a: raw.ConjugateTranspose(x=a, perm=[0, 2, 1]), ONE),
    "Pack": (lambda a, b: tf.stack([a, b], 1), ONE, ONE),
    "Unpack": (lambda a: tf.unstack(a, axis=1)[3], ONE),
    "Concat": (lambda a, b: raw.Concat(concat_dim=1, values=[a, b]), ONE, (2, S)),
    "ConcatV2": (lambda a, b: tf.concat([a, b], 1), ONE, (2, S)),
    "Split": (lambda a: tf.split(a, S, 2)[4], ONE),
    "SplitV": (lambda a: tf.split(a, [2, 5], 2)[1], ONE),
    "Slice": (lambda a: tf.slice(a, [0, 1, 2], [-1, 3, 4]), ONE),
    "StridedSlice": (lambda a: a[:, ::2, -1], ONE),
    "Pad": (lambda a: tf.pad(a, [[0, 0], [1, 2], [0, 3]]), ONE),
    "PadV2": (lambda a: tf.pad(a, [[0, 0], [1, 2], [0, 3]], constant_values=1), ONE),
    "MirrorPad": (lambda a: tf.pad(a, [[0, 0], [1, 2], [0, 3]], "REFLECT"), ONE),
    "Tile": (lambda a: tf.tile(a, [1, 2, 3]), ONE),
    "BroadcastTo": (lambda a: tf.broadcast_to(a[:, None], [tf.shape(a)[0], 3, S]), (S,)),
    "Roll": (lambda a: tf.roll(a, 2, 1), ONE),
    "ReverseV2": (lambda a: tf.reverse(a, [1]), ONE),
    "ReverseSequence": (lambda a: tf.reverse_sequence(a, tf.fill(tf.shape(a)[:1], 3), seq_axis=1), ONE),
    "Fill": (lambda a: tf.fill([T], tf.reduce_sum(a)) + 0 * a[:, :, 0], ONE),
    "Sum": (lambda a: tf.reduce_sum(a, 1), ONE),
    "Mean": (lambda a: tf.reduce_mean(a, 2), ONE),
    "Cumsum": (lambda a: tf.cumsum(a, 1), ONE),
    "SegmentSum": (turned(lambda a: tf.math.segment_sum(a, [0, 0, 1, 1, 1, 2, 2])), (S,)),
    "SegmentMean": (turned(lambda a: tf.math.segment_mean(a, [0, 0, 1, 1, 1, 2, 2])), (S,)),
    "UnsortedSegmentSum": (turned(lambda a: tf.math.unsorted_segment_sum(a, [2, 0, 1, 1, 0, 2, 2], 3)), (S,)),
    "SparseSegmentSum": (turned(lambda a: tf.sparse.segment_sum(a, [0, 3, 5], [0, 0, 1])), (S,)),
    "Gather": (turned(lambda a: raw.Gather(params=a, indices=[1, 1, 4])), (S,)),
    "GatherV2": (lambda a: tf.gather(a, [1, 1, 4], axis=2), ONE),
    "GatherNd": (turned(lambda a: tf.gather_nd(a, [[1], [1], [4]])), (S,)),
    "ScatterNd": (turned(lambda a: tf.scatter_nd([[i] for i in (1, 1, 0, 3, 2, 4, 3)], a, [5, tf.shape(a)[1]])), (S,)),
    "TensorScatterAdd": (turned(lambda a: tf.tensor_scatter_nd_add(a, [[1], [1]], a[:2])), (S,)),
    "TensorScatterSub": (turned(lambda a: tf.tensor_scatter_nd_sub(a, [[1], [1]], a[:2])), (S,)),
    "TensorScatterUpdate": (turned(lambda a: tf.tensor_scatter_nd_update(a, [[1], [3]], a[:2])), (S,)),
    "DynamicPartition": (turned(lambda a: tf.dynamic_partition(a, [0, 1, 1, 0, 0, 1, 0], 2)[1]), (S,)),
    "DynamicStitch": (turned(lambda a, b: raw.DynamicStitch(indices=[[0, 2], [1]], data=[a, b])), *TWO),
    "ParallelDynamicStitch": (turned(lambda a, b: raw.ParallelDynamicStitch(indices=[[0, 2], [1]], data=[a, b])), *TWO),
    "MatrixBandPart": (lambda a: tf.linalg.band_part(a, 1, 0), (T, T)),
    "MatrixDiag": (lambda a: raw.MatrixDiag(diagonal=a), ONE),
    "MatrixDiagV2": (lambda a: raw.MatrixDiagV2(diagonal=a, k=0, num_rows=-1, num_cols=-1, padding_value=ZERO), ONE),
    "MatrixDiagV3": (tf.linalg.diag, ONE),
    "MatrixDiagPart": (lambda a: raw.MatrixDiagPart(input=a), (T, T)),
    "MatrixDiagPartV2": (lambda a: raw.MatrixDiagPartV2(input=a, k=0, padding_value=ZERO), (T, T)),
    "MatrixDiagPartV3": (tf.linalg.diag_part, (T, T)),
    "MatrixSetDiag": (lambda a, b: raw.MatrixSetDiag(input=a, diagonal=b), (T, T), (T,)),
    "MatrixSetDiagV2": (lambda a, b: raw.MatrixSetDiagV2(input=a, diagonal=b, k=0), (T, T), (T,)),
    "MatrixSetDiagV3": (tf.linalg.set_diag, (T, T), (T,)),
    "Diag": (lambda a: raw.Diag(diagonal=a[0])[None], (T,)),
    "DiagPart": (lambda a: raw.DiagPart(input=tf.matmul(a, a, transpose_b=True))[:, None], (S,)),
    "AvgPool": (lambda a: tf.nn.avg_pool2d(a[..., None], 2, 1, "SAME"), ONE),
    "AvgPool3D": (lambda a: tf.nn.avg_pool3d(tf.cast(a[..., None, None], tf.float32), 2, 1, "SAME"), ONE),
    "ResizeBilinear": (lambda a: tf.cast(raw.ResizeBilinear(images=a[..., None], size=[11, 13]), tf.float64), ONE),
    "ResizeNearestNeighbor": (lambda a: raw.ResizeNearestNeighbor(images=a[..., None], size=[11, 13]), ONE),
    "ResizeBicubic": (lambda a: tf.cast(raw.ResizeBicubic(images=a[..., None], size=[11, 13]), tf.float64), ONE),
    "SpaceToBatchND": (lambda a: raw.SpaceToBatchND(input=a, block_shape=[2], paddings=[[1, 0]]), ONE),
    "BatchToSpaceND": (lambda a: raw.BatchToSpaceND(input=tf.tile(a, [2, 1, 1]), block_shape=[2], crops=[[1, 0]]), ONE),
    "SpaceToDepth": (lambda a: tf.nn.space_to_depth(a, 2), (4, 6, 3)),
    "DepthToSpace": (lambda a: tf.nn.depth_to_space(a, 2), (3, 5, 8)),
    "ExtractImagePatches": (lambda a: image.extract_patches(a[..., None], [1, 3, 2, 1], [1] * 4, [1] * 4, "SAME"), ONE),
    "FusedBatchNorm": (lambda a: norm(raw.FusedBatchNorm, a), (T, 2, S)),
    "FusedBatchNormV2": (lambda a: norm(raw.FusedBatchNormV2, a), (T, 2, S)),
    "FusedBatchNormV3": (lambda a: norm(raw.FusedBatchNormV3, a), (T, 2, S)),
    # passed on
    "Identity": (tf.identity, ONE),
    "IdentityN": (lambda a: tf.nn.silu(a), ONE),
    "Snapshot": (lambda a: raw.Snapshot(input=a), ONE),
    "StopGradient": (lambda a: tf.stop_gradient(a), ONE),
    "PreventGradient": (lambda a: raw.PreventGradient(input=a, message=""), ONE),
    "CheckNumerics": (lambda a: raw.CheckNumerics(tensor=a, message=""), ONE),
    "EnsureShape": (lambda a: raw.EnsureShape(input=a, shape=[None, T, S]), ONE),
    "Cast": (lambda a: tf.cast(a > 0.1, tf.float64) * a, ONE),
    # products
    "Mul": (lambda a, b: a * b[:, None] * const(S), ONE, (S,)),
    "MulNoNan": (lambda a, b: tf.math.multiply_no_nan(a, b), ONE, ONE),
    "MatMul": (lambda a: tf.matmul(a, tf.tile(tf.reduce_sum(a, 0, keepdims=True), [S, 1])), (S,)),
    "BatchMatMul": (lambda a, b: raw.BatchMatMul(x=a, y=b), ONE, (S, 2)),
    "BatchMatMulV2": (tf.matmul, ONE, (S, 2)),
    "BatchMatMulV3": (lambda a, b: raw.BatchMatMulV3(x=a, y=b, Tout=tf.float64), ONE, (S, 2)),
    "Einsum": (lambda a, b: tf.einsum("nts,nsd->ndt", a, b), ONE, (S, 2)),
    "Cross": (tf.linalg.cross, (T, 3), (T, 3)),
    "Square": (tf.square, ONE),
    "SquaredDifference": (lambda a: tf.math.squared_difference(a, tf.reduce_mean(a, 2, keepdims=True)), ONE),
    "Conv2D": (lambda a: tf.nn.conv2d(a, const(2, 3, 2, 5), 1, "SAME"), (T, S, 2)),
    "Conv2DBackpropInput": (lambda a: tf.nn.conv2d_transpose(a, const(2, 3, 5, 2), [n(a), T, S, 5], 1), (T, S, 2)),
    "DepthwiseConv2dNative": (lambda a: tf.nn.depthwise_conv2d(a, const(2, 3, 2, 5), [1, 1, 1, 1], "SAME"), (T, S, 2)),
    "Conv3D": (lambda a: tf.nn.conv3d(a, const(2, 3, 2, 2, 5), [1, 1, 1, 1, 1], "SAME"), (3, T, S, 2)),
    "Conv3DBackpropInputV2": (lambda a: tf.nn.conv3d_transpose(a, const(2, 3, 2, 5, 2), [n(a), *BOX[:3], 5], 1), BOX),
    # two numbers
    "RealDiv": (lambda a, b: a / (3 + b[:, None]), ONE, (S,)),
    "Div": (lambda a, b: raw.Div(x=a, y=3 + b), ONE, ONE),
    "DivNoNan": (lambda a, b: tf.math.divide_no_nan(a, 3 + b), ONE, ONE),
    "Maximum": (lambda a, b: tf.maximum(a, b[:, None]), ONE, (S,)),
    "Minimum": (lambda a, b: tf.minimum(a, b[:, None]), ONE, (S,)),
    "Pow": (lambda a: (a + 3) ** 1.7 + 2.0 ** a, ONE),
    # softmax
    "Softmax": (lambda a: tf.nn.softmax(3 * a), ONE),
    "LogSoftmax": (lambda a: tf.nn.log_softmax(3 * a), ONE),
    # largest of many
    "Max": (lambda a: tf.reduce_max(a, [1, 3]), (T, S, 2)),
    "Min": (lambda a: tf.reduce_min(a, 2, keepdims=True), ONE),
    "MaxPool": (pool, ONE),
    "Any": (lambda a: tf.where(tf.reduce_any(a > 1.4, 2, keepdims=True), a, 3.0), ONE),
    "All": (lambda a: tf.where(tf.reduce_all(a > -1.4, 2), a[:, :, 0], 3.0), ONE),
    # choices
    "Select": (lambda a, b: raw.Select(condition=a > b, x=a, y=3 * b), ONE, ONE),
    "SelectV2": (lambda a, b: tf.where(a[:, :1] > 0.2, a, b), ONE, ONE),
    "Greater": (lambda a, b: tf.cast(a > b[:, None], tf.float64), ONE, (S,)),
    "GreaterEqual": (lambda a, b: tf.where(a >= b, a, b * b), ONE, ONE),
    "Less": (lambda a, b: tf.where(a < b, a, b * b), ONE, ONE),
    "LessEqual": (lambda a: tf.where(a <= 0.3, a, 0.0), ONE),
    "Equal": (lambda a: tf.where(tf.equal(tf.round(a), 1.0), a, 3.0), ONE),
    "NotEqual": (lambda a: tf.where(tf.not_equal(tf.round(a), 1.0), a, 3.0), ONE),
    "LogicalAnd": (lambda a, b: tf.where((a > 0.1) & (b[:, None] > 0.2), a, 3.0), ONE, (S,)),
    "LogicalOr": (lambda a, b: tf.where((a > 0.1) | (b[:, None] > 0.2), a, 3.0), ONE, (S,)),
    "LogicalNot": (lambda a: tf.where(~(a > 0.1), a, 3.0), ONE),
    "IsFinite": (lambda a: tf.where(tf.math.is_finite(a), a, 3.0), ONE),
    "IsNan": (lambda a: tf.where(tf.math.is_nan(a), tf.zeros_like(a), a), ONE),
    "IsInf": (lambda a: tf.where(tf.math.is_inf(a), tf.zeros_like(a), a), ONE),
}  # fmt: skip
AROUND_0 = """Exp Expm1 Tanh Sigmoid Softplus Softsign Erf Erfc Sin Cos Asinh Atan Sinh Cosh
    Relu Relu6 LeakyRelu Elu Selu Abs Sign Floor Ceil Round Rint"""
POSITIVE = "Rsqrt Sqrt Log Log1p Reciprocal Inv Lgamma Digamma"
INSIDE = ("Tan", "Ndtri", "Erfinv", "Acos", "Asin", "Atanh")  # on (0, 1)
FEATURES = {"Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Softplus", "Softsign"}


def unary(name, place):
    """A row for a function of one number."""
    word = "features" if name in FEATURES else "x"
    return lambda a: getattr(raw, name)(**{word: place(a)}), ONE


ROWS |= {name: unary(name, lambda a: a) for name in AROUND_0.split()}
ROWS |= {name: unary(name, lambda a: a + 2.5) for name in POSITIVE.split()}
ROWS |= {name: unary(name, lambda a: (a + 2.1) / 4.2) for name in INSIDE}
ROWS["Acosh"] = unary("Acosh", lambda a: a + 3.5)


ALONE = ("MatMul", "DiagPart", "Diag", "Fill", "SpaceToBatchND", "BatchToSpaceND")  # rows are mixed: one at a time
FLOAT32 = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3", "AvgPool3D", "ResizeBilinear", "ResizeBicubic")


def weighted(body):
    """The sum of everything ``body`` returns, each number with a weight of its own."""

    def scalar(inputs):
        out = tf.cast(body(*inputs), tf.float64)
        flat = tf.reshape(out, [tf.shape(inputs[0])[0], -1])
        return tf.reduce_sum(flat * tf.cos(tf.range(tf.shape(flat)[1], dtype=tf.float64)), 1)

    return scalar


def met(engine):
    """Operation types that were met: with a rule, without one."""
    ((_, walk),) = engine._traces["float32"].values()
    return set(walk.exact), set(walk.quadrature) | set(walk.blocking)


def test_the_table_has_a_row_for_every_rule():
    assert set(RULES) == set(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_a_rule_conserves(name):
    body, *shapes = ROWS[name]
    engine = Deep(weighted(body))
    alone = name in ALONE
    rows, others = (
        [draw(1 if alone else n, *shape, seed=seed + 5 * i) for i, shape in enumerate(shapes)]
        for n, seed in ((B, 0), (R, 1))
    )
    for one, other in zip(rows, others, strict=True):
        one[0, ..., 0] = other[..., 0] = 0.7  # where row and reference meet
    found = engine(rows, others)
    exact, rest = met(engine)
    assert name in exact
    assert not rest
    limit = 1e-5 if name in FLOAT32 else 1e-11
    assert found.relative_gap.max() <= limit
    assert sum(np.abs(one).max() for one in found.values) > 1e-3


def multipliers_of(function, x, r):
    """Attribution of one row over its distance."""
    return Deep(function)(x, r).values / (x - r)


def test_truth_values_are_moved_about_as_numbers():
    def body(a):
        keep = tf.transpose(tf.stack([tf.reduce_any(a > 1.4, 2), a[:, :, 0] > 0.1], 1), [0, 2, 1])
        return tf.where(tf.tile(keep, [1, 2, 3])[:, :T, : S - 1], a[:, :, 1:], 0.2)

    engine = Deep(weighted(body))
    found = engine([draw(B, T, S)], [draw(R, T, S, seed=1)])
    assert met(engine)[1] == set()
    assert found.relative_gap.max() < 1e-11


@pytest.mark.parametrize("step", [0.0, 1e-9, 1e-4, 3.0])
def test_softmax_has_the_closed_form(step):
    """Against its formula, with the logarithmic mean written out; and where the two meet, against the derivative."""
    x, m = draw(1, S), draw(S, seed=5)
    r = x + (step or 1e-13) * draw(1, S, seed=1)
    found = multipliers_of(lambda z: tf.reduce_sum(tf.nn.softmax(z) * m, 1), x, r)
    s, p = (np.exp(z) / np.exp(z).sum() for z in (x, r))
    if step < 1e-3:
        middle = (s + p) / 2
        expected = middle * (m - (middle * m).sum())
    else:
        mean = lambda a, b: (a - b) / (np.log(a) - np.log(b))  # noqa: E731
        share = mean(np.exp(x), np.exp(r)) / mean(np.exp(x).sum(), np.exp(r).sum())
        expected = mean(s, p) * m - share * (mean(s, p) * m).sum()
    np.testing.assert_allclose(found, expected, rtol=1e-2 if step == 0 else 1e-5, atol=1e-7 if step else 1e-2)


def test_softmax_is_finite_with_scores_far_apart_and_keys_left_out():
    x = np.array([[1000.0, -1000, 0, -np.inf, 3]])
    r = np.array([[-1000.0, 1000, 0, -np.inf, 3]])
    hidden = tf.constant([[False, False, False, True, False]])

    def function(z):
        return tf.reduce_sum(
            tf.nn.softmax(tf.where(hidden, tf.constant(-np.inf, z.dtype), z))
            * tf.constant([1.0, 2, 3, 4, 5], tf.float64),
            1,
        )

    found = Deep(function)(np.where(np.isinf(x), 7, x), np.where(np.isinf(r), 8, r))
    assert found.relative_gap[0] < 1e-12
    assert found.values[0, 3] == 0


@pytest.mark.parametrize("seed", range(5))
def test_a_maximum_has_its_exact_shapley_values(seed):
    x, r = draw(1, S, seed=seed), draw(1, S, seed=seed + 50)
    x[0, 2] = r[0, 2]
    r[0, 4] = x[0, 5]
    found = Deep(lambda a: tf.reduce_max(a, 1))(x, r).values[0]
    np.testing.assert_allclose(found, shapley_values(lambda a: a.max(1), x[0], r, range(S)), atol=1e-12)


@pytest.mark.parametrize("function", [tf.exp, tf.nn.sigmoid, tf.nn.softplus, tf.math.erf, tf.nn.elu])
@pytest.mark.parametrize("step", [0.0, 1e-7, 1e-5, 1e-3, 1e-2])
def test_a_secant_is_never_noise(function, step):
    """In float32: between two points as close as any, the multiplier is the derivative to five digits."""
    x = np.linspace(-2.02, 2, 40, dtype="float32")[None]
    r = x + np.float32(step)
    summed = Deep(lambda a: tf.reduce_sum(function(a[:, 0] - a[:, 1]), 1))  # the difference of two large moves
    pairs = [
        np.stack([one + shift, np.zeros_like(one) + shift], 1)
        for one, shift in ((x, np.float32(4)), (r, np.float32(0)))
    ]
    found = summed(*pairs).values[:, 0] / (pairs[0] - pairs[1])[:, 0]
    moved = pairs[0][:, 0] - pairs[0][:, 1]
    middle = tf.Variable((moved + r) / 2)
    with tf.GradientTape() as tape:
        y = function(middle)
    np.testing.assert_allclose(found, tape.gradient(y, middle), rtol=1e-4, atol=3e-5)


def test_the_shift_of_a_log_sum_exp_belongs_to_nobody():
    x, r = draw(1, S), draw(1, S, seed=1)
    found = multipliers_of(lambda z: tf.reduce_logsumexp(z, 1), x, r)
    mean = lambda a, b: (a - b) / (np.log(a) - np.log(b))  # noqa: E731
    np.testing.assert_allclose(found, mean(np.exp(x), np.exp(r)) / mean(np.exp(x).sum(), np.exp(r).sum()), rtol=1e-10)


def test_the_gradient_somebody_attached_does_not_count():
    @tf.custom_gradient
    def doubled(x):
        """Twice x, with a wrong gradient."""
        return 2 * x, lambda upstream: 100 * upstream

    found = Deep(lambda a: tf.reduce_sum(doubled(a), 1))(draw(1, S), draw(1, S, seed=1))
    assert found.relative_gap[0] < 1e-12
