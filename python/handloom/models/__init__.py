"""Models for language and pictures, put together from layers, and how text comes out of them."""

from . import vision
from .autoencoder import (
    Autoencoder,
    Coded,
    ContractiveAutoencoder,
    DenoisingAutoencoder,
    SparseAutoencoder,
    contraction,
    dense_autoencoder,
    sparsity,
)
from .blocks import Cache
from .conv_autoencoder import ConvAutoencoder
from .cyclegan import CycleGAN, ImagePool, Translator, patch_critic
from .dbn import DBN
from .dcgan import DCDiscriminator, DCGenerator
from .equalized import EqualConv2d, EqualLinear
from .gan import DenseDiscriminator, DenseGenerator
from .generate import Beam, beam_search, generate
from .glove import GloVe
from .progressive import Growth, ProgressiveDiscriminator, ProgressiveGenerator, shrink
from .rbm import RBM
from .recurrent import Captioner, RNNSeq2Seq, scheduled_sampling
from .stylegan import StyledLayer, StyleGenerator, spectral_critic
from .transformer import (
    CausalLM,
    Encoder,
    MaskedLM,
    TransformerSeq2Seq,
    VisionTransformer,
)
from .vae import VAE, dense_vae
from .word2vec import CBOW, SkipGram, negative_sampling_loss

__all__ = [
    "CBOW",
    "DBN",
    "RBM",
    "VAE",
    "Autoencoder",
    "Beam",
    "Cache",
    "Captioner",
    "CausalLM",
    "Coded",
    "ContractiveAutoencoder",
    "ConvAutoencoder",
    "CycleGAN",
    "DCDiscriminator",
    "DCGenerator",
    "DenoisingAutoencoder",
    "DenseDiscriminator",
    "DenseGenerator",
    "Encoder",
    "EqualConv2d",
    "EqualLinear",
    "GloVe",
    "Growth",
    "ImagePool",
    "MaskedLM",
    "ProgressiveDiscriminator",
    "ProgressiveGenerator",
    "RNNSeq2Seq",
    "SkipGram",
    "SparseAutoencoder",
    "StyleGenerator",
    "StyledLayer",
    "TransformerSeq2Seq",
    "Translator",
    "VisionTransformer",
    "beam_search",
    "contraction",
    "dense_autoencoder",
    "dense_vae",
    "generate",
    "negative_sampling_loss",
    "patch_critic",
    "scheduled_sampling",
    "shrink",
    "sparsity",
    "spectral_critic",
    "vision",
]
