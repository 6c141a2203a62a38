"""Layers, losses and models. `from handloom import nn`; functions are in `nn.functional`."""

from handloom.nn import functional as functional
from handloom.nn import init as init
from handloom.nn import utils as utils
from handloom.nn.activations import (
    ELU,
    GELU,
    GLU,
    SELU,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    Heaviside,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    Mish,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Softsign,
    SwiGLU,
    Tanh,
)
from handloom.nn.containers import ModuleDict, ModuleList, Sequential
from handloom.nn.dropout import (
    AlphaDropout,
    Dropout,
    Dropout1d,
    Dropout2d,
    Dropout3d,
    FeatureAlphaDropout,
)
from handloom.nn.linear import EqualizedLinear, Flatten, Identity, Linear, Unflatten
from handloom.nn.losses import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    DiceLoss,
    FocalLoss,
    GANDiscriminatorLoss,
    GANGeneratorLoss,
    GaussianKLLoss,
    HingeEmbeddingLoss,
    HingeLoss,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    MSELoss,
    NLLLoss,
    SmoothL1Loss,
)
from handloom.nn.module import Module
from handloom.nn.parameter import Parameter
from handloom.nn.summary import summary
