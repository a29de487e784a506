"""What moved the answer: SHAP values of Keras models over one compiled value function.

The explainer is ``keras_attn_xai.AttentionExplainer``; this folder imports nothing by itself, so that
``Explanation.to_shap`` needs shap alone.
"""
