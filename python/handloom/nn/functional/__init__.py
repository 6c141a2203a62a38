"""Layers as functions, under PyTorch's names: `from handloom.nn import functional as F`.

They take tensors or NumPy arrays. The feature and class axis is the last, so that PyTorch's dim=1
defaults are −1 here.
"""

from handloom.nn.functional.activation import (
    alpha_dropout,
    dropout,
    dropout1d,
    dropout2d,
    dropout3d,
    feature_alpha_dropout,
    softmin,
    swiglu,
)
from handloom.nn.functional.pad import pad
from handloom.ops import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cosine_similarity,
    cross_entropy,
    dice_loss,
    elu,
    focal_loss,
    gan_discriminator_loss,
    gan_generator_loss,
    gaussian_kl,
    gelu,
    glu,
    hardsigmoid,
    hardswish,
    hardtanh,
    heaviside,
    hinge_embedding_loss,
    hinge_loss,
    huber_loss,
    kl_div,
    l1_loss,
    leaky_relu,
    linear,
    log_softmax,
    logsigmoid,
    mish,
    mse_loss,
    nll_loss,
    normalize,
    one_hot,
    prelu,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    smooth_l1_loss,
    softmax,
    softplus,
    softsign,
    tanh,
)

__all__ = [name for name in dir() if name[0] != "_" and name not in ("activation",)]
