"""Operations that are linear in all they are given at once, or in each input by itself: a gradient of TensorFlow's own.

A linear map has one gradient everywhere. A product has, at the mean of the two points, the gradient that
splits it as Shapley would: x y - x' y' = (x - x') (y + y') / 2 + (y - y') (x + x') / 2. A square likewise.
"""

import tensorflow as tf

from keras_attn_xai.explain.deep.graph import Pair, Step, truth_as, x_of

LINEAR = """
    AddN AddV2 Add Sub Neg BiasAdd
    Reshape Squeeze ExpandDims Transpose ConjugateTranspose Pack Unpack Concat ConcatV2 Split SplitV
    Slice StridedSlice Pad PadV2 MirrorPad Tile BroadcastTo Roll ReverseV2 ReverseSequence Fill
    Sum Mean Cumsum SegmentSum SegmentMean UnsortedSegmentSum SparseSegmentSum
    Gather GatherV2 GatherNd ScatterNd TensorScatterAdd TensorScatterSub TensorScatterUpdate DynamicPartition
    DynamicStitch ParallelDynamicStitch
    MatrixBandPart MatrixDiag MatrixDiagV2 MatrixDiagV3 MatrixDiagPart MatrixDiagPartV2 MatrixDiagPartV3
    MatrixSetDiag MatrixSetDiagV2 MatrixSetDiagV3 Diag DiagPart
    AvgPool AvgPool3D ResizeBilinear ResizeNearestNeighbor ResizeBicubic SpaceToBatchND BatchToSpaceND SpaceToDepth
    DepthToSpace ExtractImagePatches
"""
PRODUCTS = """
    Mul MulNoNan MatMul BatchMatMul BatchMatMulV2 BatchMatMulV3 Einsum Cross Square SquaredDifference
    Conv2D Conv2DBackpropInput DepthwiseConv2dNative Conv3D Conv3DBackpropInputV2
"""


def gradient(step: Step, point, multipliers):
    """Multipliers of the flowing inputs by the gradient at ``point``, one per input, None for the others."""
    varying = step.flowing
    point = [tf.identity(one) if i in varying else one for i, one in enumerate(point)]  # x * x has two inputs
    outputs = step.at(point)
    known = [(out, m) for out, m in zip(outputs, multipliers, strict=True) if m is not None]
    made = tf.gradients(
        [out for out, _ in known],
        [point[i] for i in varying],
        grad_ys=[tf.cast(m, out.dtype) for out, m in known],
        unconnected_gradients=tf.UnconnectedGradients.NONE,
    )
    found = dict(zip(varying, made, strict=True))
    return [_dense(found[i], point[i]) if found.get(i) is not None else None for i in range(len(point))]


def linear(step, multipliers):
    """The gradient, the same at every point; truth values that are moved about are numbers, 0 and 1."""
    point = [x_of(one) for one in step.inputs]
    if all(one.dtype != tf.bool for one in step.outputs):
        return gradient(step, point, multipliers)
    number = next(m.dtype for m in multipliers if m is not None)
    with truth_as(number):
        return gradient(step, [tf.cast(one, number) if one.dtype == tf.bool else one for one in point], multipliers)


def product(step, multipliers):
    """The gradient at the mean of the two points."""
    return gradient(
        step, [one.mean if isinstance(one, Pair) and one.flows else x_of(one) for one in step.inputs], multipliers
    )


def batch_norm(step, multipliers):
    """With known statistics, linear."""
    if step.op.get_attr("is_training") or step.flowing != [0]:
        return None
    return linear(step, multipliers)


def passed_on(step, multipliers):
    """Outputs that are the inputs, whatever gradient somebody has attached."""
    return list(multipliers)


def stopped(step, multipliers):
    """As if the gradient was not stopped; but a shift that was made common to both is nobody's."""
    (pair,), (m,) = step.inputs, multipliers
    return [tf.where(step.outputs[0].x == pair.x, m, tf.zeros_like(m))]


def cast(step, multipliers):
    """Between types of numbers; a truth value counts as 0 or 1."""
    (pair,), (m,) = step.inputs, multipliers
    return [m if pair.dtype == tf.bool else tf.cast(m, pair.dtype)]


def _dense(made, like):
    if isinstance(made, tf.IndexedSlices):
        return tf.math.unsorted_segment_sum(made.values, made.indices, tf.shape(like)[0])
    return made


RULES = {
    **dict.fromkeys(LINEAR.split(), linear),
    **dict.fromkeys(PRODUCTS.split(), product),
    **dict.fromkeys(["FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"], batch_norm),
    "IdentityN": passed_on,
    "Identity": passed_on,
    "Snapshot": passed_on,
    "StopGradient": stopped,
    "PreventGradient": passed_on,
    "CheckNumerics": passed_on,
    "EnsureShape": passed_on,
    "Cast": cast,
}
