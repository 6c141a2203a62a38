from collections.abc import Callable, Sequence
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]

# runtime
version: str
build_type: str
kernel_list: list[tuple[str, int]]

def num_threads() -> int: ...
def set_num_threads(n: int) -> None: ...
def thread_backend() -> str: ...
def isa() -> str: ...
def vector_bytes() -> int: ...
def available_isas() -> list[str]: ...
def use_isa(name: str) -> bool: ...
def guard_scratch(on: bool) -> None: ...
def empty_cache() -> None: ...
def pool_stats() -> tuple[int, int, int]: ...
def explain(
    call: Callable[[], object],
) -> list[tuple[str, str, tuple[int, int, int], int, float, float, str]]: ...
def profile_start() -> None: ...
def profile_stop() -> list[tuple[str, str, float, float, float, float, int, int]]: ...
def profile_scope(scope: int) -> None: ...
def bench_peak(dtype: str, seconds: float) -> float: ...
def bench_bandwidth(kind: str, nbytes: int, seconds: float) -> float: ...

# dense
def matmul(
    a: Array, b: Array, out: Array | None = None, alpha: float = 1.0, beta: float = 0.0
) -> Array: ...
def conv_forward(
    op: str,
    x: Array,
    w: Array,
    b: Array | None,
    stride: Sequence[int],
    before: Sequence[int],
    after: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    act: int,
    need_z: bool,
    p0: float,
    p1: float,
    panels: Array | None = None,
) -> Any: ...
def conv_backward_data(
    op: str,
    name: str,
    dy: Array,
    w: Array,
    b: Array | None,
    size: Sequence[int],
    stride: Sequence[int],
    before: Sequence[int],
    after: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    act: int,
    need_z: bool,
    p0: float,
    p1: float,
) -> Any: ...
def conv_backward_weight(
    op: str,
    dy: Array,
    x: Array,
    w: Array,
    stride: Sequence[int],
    before: Sequence[int],
    after: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    need_w: bool,
    need_b: bool,
) -> tuple[Array | None, Array | None]: ...
def linear_forward(
    x: Array,
    w: Array,
    b: Array | None = None,
    act: int = -1,
    need_z: bool = False,
    p0: float = 0.0,
    p1: float = 0.0,
    panels: Array | None = None,
) -> Any: ...
def pack_panels(w: Array, groups: int) -> Array | None: ...
def linear_backward(
    dy: Array,
    x: Array,
    w: Array,
    saved: Array | None = None,
    act: int = -1,
    need: int = 7,
    p0: float = 0.0,
    p1: float = 0.0,
) -> tuple[Array | None, Array | None, Array | None]: ...

# elementwise
unary_ops: dict[str, int]
unary_saves: dict[str, str]
unary_defaults: dict[str, tuple[float, float]]
binary_ops: dict[str, int]
compare_ops: dict[str, int]

def unary_forward(
    op: int, x: Array, p0: float = 0.0, p1: float = 0.0, out: Array | None = None
) -> Array: ...
def unary_backward(
    op: int,
    dy: Array,
    x: Array | None = None,
    y: Array | None = None,
    p0: float = 0.0,
    p1: float = 0.0,
) -> Array: ...
def binary_forward(
    op: int, a: Array | float, b: Array | float, out: Array | None = None
) -> Array: ...
def binary_backward(
    op: int,
    dy: Array,
    a: Array | float,
    b: Array | float,
    y: Array | None = None,
    need: int = 3,
) -> tuple[Array | None, Array | None]: ...
def compare(op: int, a: Array | float, b: Array | float) -> Array: ...
def where(mask: Array, a: Array | float, b: Array | float, out: Array | None = None) -> Array: ...
def where_backward(
    dy: Array, mask: Array, a_shape: tuple[int, ...] | None, b_shape: tuple[int, ...] | None
) -> tuple[Array | None, Array | None]: ...
def add_(y: Array, x: Array, alpha: float = 1.0) -> None: ...
def isfinite_all(x: Array) -> bool: ...

# random
def random_uniform(
    shape: Sequence[int], dtype: str, seed: int, call: int, low: float, high: float
) -> Array: ...
def random_normal(
    shape: Sequence[int], dtype: str, seed: int, call: int, mean: float, std: float
) -> Array: ...
def random_bernoulli(shape: Sequence[int], dtype: str, seed: int, call: int, p: float) -> Array: ...
def random_integers(shape: Sequence[int], seed: int, call: int, low: int, high: int) -> Array: ...
def random_permutation(n: int, seed: int, call: int) -> Array: ...
def random_uniform_rows(calls: Array, n: int, dtype: str, seed: int) -> Array: ...
def random_normal_rows(calls: Array, n: int, dtype: str, seed: int) -> Array: ...
def random_words(blocks: int, seed: int, call: int, block: int) -> Array: ...
def dropout_forward(x: Array, p: float, seed: int, call: int, kind: int) -> Array: ...
def dropout_backward(dy: Array, p: float, seed: int, call: int, kind: int) -> Array: ...

# layout
pad_modes: dict[str, int]

def copy(x: Array, out: Array | None = None) -> Array: ...
def assign(dst: Array, src: Array) -> None: ...
def fill(x: Array, value: complex) -> None: ...
def concat(arrays: Sequence[Array], axis: int) -> Array: ...
def pad(x: Array, pairs: Sequence[tuple[int, int]], mode: int, value: complex) -> Array: ...
def pad_backward(dy: Array, pairs: Sequence[tuple[int, int]], mode: int) -> Array: ...
def take_rows(table: Array, indices: Array, op: str = ...) -> Array: ...
def scatter_add_rows(dy: Array, indices: Array, num_rows: int) -> Array: ...
def gather(x: Array, index: Array, axis: int) -> Array: ...
def scatter_add(dy: Array, index: Array, axis: int, shape: Sequence[int]) -> Array: ...
def one_hot(indices: Array, classes: int) -> Array: ...
def tril(x: Array, k: int) -> Array: ...
def triu(x: Array, k: int) -> Array: ...

# optim
optim_kinds: dict[str, int]
optim_hyper: dict[str, tuple[str, ...]]
optim_states: dict[str, tuple[str, ...]]
optim_hyper_size: int

class ParamList:
    def __init__(
        self,
        kind: str,
        params: list[Array],
        states: list[Sequence[Array | None]],
        progress: Array,
        hyper: Array,
    ) -> None: ...
    def step(self, grads: list[Any]) -> None: ...
    def holds(self, params: list[Array]) -> bool: ...
    def __len__(self) -> int: ...
    @property
    def kind(self) -> str: ...

def multi_norm(arrays: list[Array], ord: float) -> float: ...
def multi_scale(arrays: list[Array], factor: float) -> None: ...
def multi_clamp(arrays: list[Array], low: float, high: float) -> None: ...
def multi_lerp(dst: list[Array], src: list[Array], weight: float) -> None: ...

# reduce
reduce_ops: dict[str, int]
arg_ops: dict[str, int]

def reduce_forward(
    op: int, x: Array, axes: int | tuple[int, ...] | None, keepdims: bool, p0: float
) -> Array: ...
def reduce_backward(
    op: int,
    dy: Array,
    x: Array | tuple[int, ...],
    y: Array | None,
    axes: int | tuple[int, ...] | None,
    p0: float,
) -> Array: ...
def argreduce(op: int, x: Array, axis: int | None, keepdims: bool) -> Array: ...
def sum_to(x: Array, shape: tuple[int, ...]) -> Array: ...
def cumsum(x: Array, axis: int, reverse: bool = False) -> Array: ...
def sort(x: Array, axis: int, descending: bool) -> tuple[Array, Array]: ...
def topk(x: Array, k: int, axis: int, largest: bool) -> tuple[Array, Array]: ...
def sort_backward(dy: Array, indices: Array, axis: int, size: int) -> Array: ...

# pooling; window is five tuples (kernel, stride, dilation, before, after), or a tuple of output
# sizes (adaptive), or None (global)
pool_kinds: dict[str, int]

def pool_forward(
    kind: int,
    x: Array,
    window: tuple[Any, ...] | None,
    ceil_mode: bool,
    count_pad: bool,
    number: float,
    keep: bool,
) -> Any: ...
def pool_backward(
    kind: int,
    dy: Array,
    shape: tuple[int, ...],
    window: tuple[Any, ...] | None,
    ceil_mode: bool,
    count_pad: bool,
    number: float,
    saved: Array | tuple[Array, Array] | None,
) -> Array: ...
def pool_indices(
    kind: int,
    saved: Array,
    shape: tuple[int, ...],
    window: tuple[Any, ...] | None,
    ceil_mode: bool,
) -> Array: ...
def unpool_forward(x: Array, indices: Array, output_size: tuple[int, ...]) -> Array: ...
def unpool_backward(dy: Array, indices: Array, output_size: tuple[int, ...]) -> Array: ...

# resize
resample_modes: dict[str, int]
sample_modes: dict[str, int]
outside_modes: dict[str, int]

def resample_forward(
    x: Array, size: tuple[int, ...], scales: Sequence[float] | None, mode: int, aligned: bool
) -> Array: ...
def resample_backward(
    dy: Array,
    input_size: tuple[int, ...],
    scales: Sequence[float] | None,
    mode: int,
    aligned: bool,
) -> Array: ...
def upfirdn_forward(
    x: Array,
    taps: Sequence[float],
    up: tuple[int, ...],
    down: tuple[int, ...],
    before: tuple[int, ...],
    after: tuple[int, ...],
) -> Array: ...
def upfirdn_backward(
    dy: Array,
    input_size: tuple[int, ...],
    taps: Sequence[float],
    up: tuple[int, ...],
    down: tuple[int, ...],
    before: tuple[int, ...],
    after: tuple[int, ...],
) -> Array: ...
def affine_grid_forward(theta: Array, size: tuple[int, ...], aligned: bool) -> Array: ...
def affine_grid_backward(dgrid: Array, aligned: bool) -> Array: ...
def grid_sample_forward(x: Array, grid: Array, mode: int, outside: int, aligned: bool) -> Array: ...
def grid_sample_backward(
    dy: Array, x: Array, grid: Array, mode: int, outside: int, aligned: bool, need: int
) -> tuple[Array | None, Array | None]: ...
def warp_affine(
    x: Array, matrix: Array, size: tuple[int, ...], mode: int, outside: int, fill: float
) -> Array: ...

# normalisation; kind: 0 batch, 1 instance, 2 group, 3 adaptive instance
def channel_norm_forward(
    kind: int,
    x: Array,
    groups: int,
    weight: Array | None,
    bias: Array | None,
    running_mean: Array | None,
    running_var: Array | None,
    given: bool,
    momentum: float,
    eps: float,
    act: int,
    p0: float,
    p1: float,
    need_stats: bool,
) -> Any: ...
def channel_norm_backward(
    kind: int,
    dy: Array,
    x: Array,
    groups: int,
    weight: Array | None,
    bias: Array | None,
    mean: Array,
    rstd: Array,
    given: bool,
    act: int,
    p0: float,
    p1: float,
    need: int,
) -> tuple[Array | None, Array | None, Array | None]: ...

# along the last axes; kind: 0 layer, 1 RMS, 2 pixel
def row_norm_forward(
    kind: int,
    x: Array,
    axes: int,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    need_stats: bool,
) -> Any: ...
def row_norm_backward(
    kind: int,
    dy: Array,
    x: Array,
    axes: int,
    weight: Array | None,
    mean: Array | None,
    rstd: Array,
    need: int,
) -> tuple[Array | None, Array | None, Array | None]: ...
def minibatch_std_forward(x: Array, group_size: int, num_features: int, eps: float) -> Array: ...
def minibatch_std_backward(
    dy: Array, x: Array, group_size: int, num_features: int, eps: float
) -> Array: ...

# attention: options are a handloom._calls.attention.Options
def attention_forward(
    op: str, q: Array, k: Array, v: Array, options: tuple[Any, ...]
) -> tuple[Array, Array]: ...
def attention_weights(
    op: str, q: Array, k: Array, saved: Array, options: tuple[Any, ...]
) -> Array: ...
def attention_backward(
    op: str,
    dy: Array,
    q: Array,
    k: Array,
    v: Array,
    y: Array,
    saved: Array,
    options: tuple[Any, ...],
    need: int,
    dq: Array | None,
    dk: Array | None,
    dv: Array | None,
) -> tuple[Array | None, Array | None, Array | None, Array | None]: ...
def attention_packed_backward(
    op: str,
    dy: Array,
    q: Array | None,
    x: Array,
    y: Array,
    saved: Array,
    options: tuple[Any, ...],
    need: int,
) -> tuple[Array | None, Array | None, Array | None]: ...

# softmax
def softmax_forward(x: Array, axis: int, log: bool) -> Array: ...
def softmax_backward(dy: Array, y: Array, axis: int, log: bool) -> Array: ...
def glu_forward(x: Array, axis: int) -> Array: ...
def glu_backward(dy: Array, x: Array, axis: int) -> Array: ...

# loss; reduction: 0 none, 1 mean, 2 sum
pointwise_losses: dict[str, int]

def cross_entropy_forward(
    logits: Array,
    target: Array,
    weight: Array | None,
    ignore_index: int,
    label_smoothing: float,
    reduction: int,
) -> tuple[Array, Array]: ...
def cross_entropy_backward(
    dy: Array,
    logits: Array,
    target: Array,
    weight: Array | None,
    ignore_index: int,
    label_smoothing: float,
    reduction: int,
    saved: Array,
) -> Array: ...
def nll_loss_forward(
    log_probs: Array, target: Array, weight: Array | None, ignore_index: int, reduction: int
) -> tuple[Array, None]: ...
def nll_loss_backward(
    dy: Array,
    log_probs: Array,
    target: Array,
    weight: Array | None,
    ignore_index: int,
    reduction: int,
    saved: None = None,
) -> Array: ...
def pointwise_loss_forward(
    op: int,
    x: Array,
    t: Array,
    weight: Array | None,
    pos_weight: Array | None,
    p0: float,
    p1: float,
    reduction: int,
) -> Array: ...
def pointwise_loss_backward(
    op: int,
    dy: Array,
    x: Array,
    t: Array,
    weight: Array | None,
    pos_weight: Array | None,
    p0: float,
    p1: float,
    reduction: int,
    need: int = 1,
) -> tuple[Array | None, Array | None]: ...
def ctc_loss_forward(
    log_probs: Array,
    targets: Array,
    input_lengths: Array,
    target_lengths: Array,
    blank: int,
    reduction: int,
    zero_infinity: bool,
) -> tuple[Array, Array]: ...
def ctc_loss_backward(
    dy: Array,
    log_probs: Array,
    targets: Array,
    input_lengths: Array,
    target_lengths: Array,
    blank: int,
    reduction: int,
    zero_infinity: bool,
    saved: Array,
) -> Array: ...
def edit_distance(a: Array, b: Array, a_lengths: Array, b_lengths: Array) -> Array: ...
def gaussian_kl_forward(mu: Array, logvar: Array, reduction: int) -> Array: ...
def gaussian_kl_backward(
    dy: Array, mu: Array, logvar: Array, reduction: int, need: int = 3
) -> tuple[Array | None, Array | None]: ...
def gaussian_nll_forward(
    x: Array, t: Array, var: Array, eps: float, constant: float, reduction: int
) -> Array: ...
def gaussian_nll_backward(
    dy: Array, x: Array, t: Array, var: Array, eps: float, reduction: int, need: int = 7
) -> tuple[Array | None, Array | None, Array | None]: ...
def dice_loss_forward(p: Array, t: Array, smooth: float, reduction: int) -> Array: ...
def dice_loss_backward(
    dy: Array, p: Array, t: Array, smooth: float, reduction: int, need: int = 3
) -> tuple[Array | None, Array | None]: ...

# restricted Boltzmann machines
def rbm_sample(
    x: Array,
    w: Array,
    bias: Array,
    to_visible: bool,
    gaussian: bool,
    want_sample: bool,
    seed: int,
    call: int,
) -> tuple[Array, Array | None]: ...
def rbm_contrast(
    v: Array | None,
    w: Array,
    b: Array,
    c: Array,
    chain: Array | None,
    steps: int,
    gaussian: bool,
    visible_means: bool,
    gradients: bool,
    need_h: bool,
    seed: int,
    call: int,
) -> tuple[Any, Any, Any, Array, Any]: ...

# recurrent networks
rnn_cells: dict[str, int]

def rnn_forward(
    cell: int,
    x: Array,
    h0: Array | None,
    c0: Array | None,
    w_ih: Array,
    w_hh: Array,
    b_ih: Array | None,
    b_hh: Array | None,
    lengths: Array | None,
    reverse: bool,
    save: bool,
) -> tuple[Any, ...]: ...
def rnn_backward(
    cell: int,
    dy: Array | None,
    dhn: Array | None,
    dcn: Array | None,
    x: Array,
    h0: Array | None,
    c0: Array | None,
    w_ih: Array,
    w_hh: Array,
    lengths: Array | None,
    reverse: bool,
    y: Array,
    gates: Array | None,
    cells: Array | None,
    need: int,
) -> tuple[Array | None, ...]: ...
def rnn_variant_forward(
    cell: int,
    x: Array,
    h0: Array | None,
    c0: Array | None,
    w_ih: Array,
    w_hh: Array,
    b_ih: Array | None,
    b_hh: Array | None,
    lengths: Array | None,
    reverse: bool,
    save: bool,
    extras: tuple[Any, ...],
) -> tuple[Any, ...]: ...
def rnn_variant_backward(
    cell: int,
    dy: Array | None,
    dhn: Array | None,
    dcn: Array | None,
    x: Array,
    h0: Array | None,
    c0: Array | None,
    w_ih: Array,
    w_hh: Array,
    lengths: Array | None,
    reverse: bool,
    extras: tuple[Any, ...],
    y: Array,
    gates: Array | None,
    cells: Array | None,
    norms: Array | None,
    need: int,
) -> tuple[Array | None, ...]: ...
def rnn_cell_forward(
    cell: int,
    x: Array,
    h0: Array | None,
    c0: Array | None,
    w_ih: Array,
    w_hh: Array,
    b_ih: Array | None,
    b_hh: Array | None,
    save: bool,
) -> tuple[Any, Any, Any]: ...
def rnn_cell_backward(
    cell: int,
    dh: Array | None,
    dc: Array | None,
    x: Array,
    h0: Array | None,
    c0: Array | None,
    w_ih: Array,
    w_hh: Array,
    h: Array,
    c: Array | None,
    gates: Array | None,
    need: int,
) -> tuple[Array | None, ...]: ...

# boxes and regions of images
box_overlaps: dict[str, int]
nms_decays: dict[str, int]

def box_overlap(op: str, kind: int, boxes1: Array, boxes2: Array, eps: float) -> Array: ...
def box_loss_forward(op: str, kind: int, boxes1: Array, boxes2: Array, eps: float) -> Array: ...
def box_loss_backward(
    op: str, kind: int, dy: Array, boxes1: Array, boxes2: Array, eps: float, need: int
) -> tuple[Array | None, Array | None]: ...
def box_encode(
    boxes: Array, anchors: Array, wx: float, wy: float, ww: float, wh: float
) -> Array: ...
def box_decode_forward(
    codes: Array, anchors: Array, wx: float, wy: float, ww: float, wh: float, clip: float
) -> Array: ...
def box_decode_backward(
    dy: Array, codes: Array, anchors: Array, wx: float, wy: float, ww: float, wh: float, clip: float
) -> Array: ...
def box_match(iou: Array, low: float, high: float, keep_best: bool) -> Array: ...
def nms(
    op: str, boxes: Array, scores: Array, idxs: Array | None, iou_threshold: float
) -> Array: ...
def soft_nms(
    boxes: Array,
    scores: Array,
    decay: int,
    iou_threshold: float,
    sigma: float,
    score_threshold: float,
) -> tuple[Array, Array]: ...
def roi_align_forward(
    op: str,
    input: Array,
    boxes: Array,
    height: int,
    width: int,
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> Array: ...
def roi_align_backward(
    dy: Array,
    boxes: Array,
    size: Sequence[int],
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> Array: ...
def roi_pool_forward(
    input: Array, boxes: Array, height: int, width: int, spatial_scale: float
) -> tuple[Array, Array]: ...
def roi_pool_backward(dy: Array, boxes: Array, saved: Array, size: Sequence[int]) -> Array: ...
def label_regions(mask: Array, connectivity: int) -> tuple[Array, Array]: ...
def confusion(
    op: str, target: Array, prediction: Array, num_classes: int, ignore_index: int
) -> Array: ...
def graph_segment(image: Array, scale: float, min_size: int) -> tuple[Array, int]: ...
def group_regions(
    label: Array, bins: Array, regions: int, colours: int, bins_of_each: int
) -> tuple[Array, Array, int]: ...

# the CUDA library and arrays on a GPU, whose layouts are ndarrays (bind/gpu.cpp)
class gpu:
    @staticmethod
    def load(path: str) -> str | None: ...
    @staticmethod
    def set_type(type: type) -> None: ...
    @staticmethod
    def build() -> str: ...
    @staticmethod
    def emulated() -> bool: ...
    @staticmethod
    def count() -> tuple[int, str | None]: ...
    @staticmethod
    def info(device: int) -> dict[str, Any]: ...
    @staticmethod
    def memory(device: int) -> tuple[int, int]: ...
    @staticmethod
    def kernels() -> list[tuple[str, int, str, str]]: ...
    @staticmethod
    def choose(flags: Sequence[bool]) -> None: ...
    @staticmethod
    def set_default(device: int) -> int: ...
    @staticmethod
    def set_precision(precision: int) -> int: ...
    @staticmethod
    def empty(shape: Sequence[int], dtype: Any, device: int) -> Any: ...
    @staticmethod
    def upload(host: Array, device: int) -> Any: ...
    @staticmethod
    def download(array: Any, to: Array) -> None: ...
    @staticmethod
    def write(to: Any, host: Array) -> None: ...
    @staticmethod
    def clear(array: Any) -> None: ...
    @staticmethod
    def adopt(
        data: int,
        shape: Sequence[int],
        strides: Sequence[int] | None,
        dtype: Any,
        device: int,
        owner: object,
    ) -> Any: ...
    @staticmethod
    def gemm16(
        type: str,
        a: Any,
        b: Any,
        bias: Any = None,
        activation: str = "none",
        residual: Any = None,
        wide: bool = False,
    ) -> Any: ...
    class Graph:
        def __init__(self, device: int) -> None: ...
        def begin(self, before: gpu.Graph | None) -> None: ...
        def end(self, keep: bool) -> None: ...
        def drew(self, seed: int, call: int, generator: int) -> None: ...
        def check(self) -> None: ...
        def replay(self, moved: Sequence[Sequence[int]]) -> None: ...
        def reset(self) -> None: ...
        @property
        def captured(self) -> bool: ...

    @staticmethod
    def capturing() -> bool: ...
    @staticmethod
    def address(layout: Array) -> int: ...
    @staticmethod
    def synchronize(device: int) -> None: ...
    @staticmethod
    def stream_create(device: int) -> int: ...
    @staticmethod
    def stream_destroy(device: int, stream: int) -> None: ...
    @staticmethod
    def current_stream(device: int) -> int: ...
    @staticmethod
    def use_stream(device: int, stream: int) -> None: ...
    @staticmethod
    def stream_wait(device: int, stream: int, for_stream: int) -> None: ...
    @staticmethod
    def stream_synchronize(device: int, stream: int) -> None: ...
    @staticmethod
    def event_create(device: int) -> int: ...
    @staticmethod
    def event_destroy(device: int, event: int) -> None: ...
    @staticmethod
    def event_record(device: int, event: int, stream: int) -> None: ...
    @staticmethod
    def event_elapsed(device: int, start: int, stop: int) -> float: ...
    @staticmethod
    def to_dlpack(array: Any, versioned: bool, stream: int | None) -> Any: ...
    @staticmethod
    def from_dlpack(
        capsule: Any,
    ) -> tuple[int, tuple[int, ...], tuple[int, ...] | None, str, int, object, bool]: ...
