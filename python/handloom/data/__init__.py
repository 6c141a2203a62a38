"""Data: sets to train on, batches, splits, scaling, and readers of the usual files."""

from . import augment as augment
from .catalog import Data, load, names
from .corpus import TOKEN_CLASSES, python_sources, python_topics, token_classes
from .dataset import Dataset, Subset, TensorDataset, collate
from .loader import DataLoader
from .preprocess import Standardizer, one_hot, standardize
from .readers import read_cifar10, read_idx, read_npz
from .splits import k_fold, split, train_test_split
from .table import Table, read_csv
from .text import load_pairs

__all__ = [
    "TOKEN_CLASSES",
    "Data",
    "DataLoader",
    "Dataset",
    "Standardizer",
    "Subset",
    "Table",
    "TensorDataset",
    "augment",
    "collate",
    "k_fold",
    "load",
    "load_pairs",
    "names",
    "one_hot",
    "python_sources",
    "python_topics",
    "read_cifar10",
    "read_csv",
    "read_idx",
    "read_npz",
    "split",
    "standardize",
    "token_classes",
    "train_test_split",
]
