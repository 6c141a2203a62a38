"""Interpolation, FIR filters, grids and warps, by dense matrices and plain indexing."""

from __future__ import annotations

from typing import Any

import numpy as np

from handloom import kernels
from handloom.bench.cases import Case
from harness import Arrays, Op

# ---- separable: one dense matrix for each axis ---------------------------------------------------


def nearest_index(n: int, m: int, scale: float | None, shift: float) -> Any:
    o = np.arange(m)
    if shift == 0 and n == m:
        return o
    if shift == 0 and m == 2 * n:
        return o // 2
    f = np.float32
    step = f(1 / scale) if scale else f(n) / f(m)
    return np.minimum(np.floor((o.astype(f) + f(shift)) * step).astype(int), n - 1)


def axis_matrix(n: int, m: int, mode: str, aligned: bool, scale: float | None) -> Any:
    """(m, n): what each result is of the n elements of an axis."""
    a = np.zeros((m, n))
    rows = np.arange(m)
    if mode.startswith("nearest"):
        a[rows, nearest_index(n, m, scale, 0.5 if mode == "nearest-exact" else 0.0)] = 1
        return a
    if mode == "area":
        for o in rows:
            low, high = o * n // m, -(-(o + 1) * n // m)
            a[o, low:high] = 1 / (high - low)
        return a
    if aligned:
        u = rows * (n - 1) / (m - 1) if m > 1 else np.zeros(1)
    else:
        u = (rows + 0.5) / scale - 0.5 if scale else ((2 * rows + 1) * n - m) / (2 * m)
    if mode == "bicubic":
        base = np.floor(u).astype(int)
        for k in range(-1, 3):
            d = np.abs(u - (base + k))
            near = (1 - d) * (1 + d - 1.25 * d**2)
            far = -0.75 * (d - 1) * (d - 2) ** 2
            np.add.at(a, (rows, np.clip(base + k, 0, n - 1)), np.where(d <= 1, near, far))
        return a
    if n == m:
        return np.eye(n)
    u = np.maximum(u, 0)
    base = np.minimum(u.astype(int), n - 1)
    np.add.at(a, (rows, base), 1 - (u - base))
    np.add.at(a, (rows, np.minimum(base + 1, n - 1)), u - base)
    return a


def interpolate_matrices(spatial: tuple[int, ...], options: dict[str, Any]) -> list[Any]:
    mode = options.get("mode", "nearest")
    mode = {"bilinear": "linear", "trilinear": "linear"}.get(mode, mode)
    factor = options.get("scale_factor")
    factors = factor if isinstance(factor, tuple) else (factor,) * len(spatial)
    if factor is None:
        size = options["size"]
        sizes = size if isinstance(size, tuple) else (size,) * len(spatial)
    else:
        sizes = tuple(int(np.floor(n * f)) for n, f in zip(spatial, factors))
    if options.get("recompute_scale_factor"):
        factors = (None,) * len(spatial)
    aligned = bool(options.get("align_corners"))
    return [axis_matrix(n, m, mode, aligned, f) for n, m, f in zip(spatial, sizes, factors)]


def fir_matrix(n: int, taps: Any, up: int, down: int, padding: tuple[int, int]) -> Any:
    """Literally: zeros in, zeros around, np.convolve, every down-th."""
    columns = []
    for i in range(n):
        wide = np.zeros(n * up)
        wide[i * up] = 1
        columns.append(np.convolve(np.pad(wide, padding), taps, "valid")[::down])
    return np.stack(columns, 1)


def apply(x: Any, matrices: list[Any]) -> Any:
    y = x
    for i, a in enumerate(matrices):
        y = np.moveaxis(np.tensordot(a.astype(x.dtype), y, (1, i + 1)), 0, i + 1)
    return y


def interpolate(x: Any, **options: Any) -> Any:
    return apply(x, interpolate_matrices(x.shape[1:-1], options))


def interpolate_size(x: Any, **options: Any) -> Any:
    matrices = interpolate_matrices(x.shape[1:-1], options)
    return apply(np.abs(x), [np.abs(a) for a in matrices])


def interpolate_backward(dy: Any, inputs: Arrays, options: dict[str, Any]) -> Arrays:
    matrices = interpolate_matrices(inputs[0].shape[1:-1], options)
    return (apply(dy, [a.T for a in matrices]),)


def own_interpolate_backward(dy: Any, inputs: Arrays, y: Any, options: dict[str, Any]) -> Arrays:
    rest = {k: v for k, v in options.items() if k not in ("size", "recompute_scale_factor")}
    if options.get("recompute_scale_factor"):
        rest.pop("scale_factor")
    return (kernels.interpolate_backward(dy, inputs[0].shape[1:-1], **rest),)


def upfirdn(x: Any, **options: Any) -> Any:
    return apply(x, fir_matrices(x, options))


def fir_matrices(x: Any, options: dict[str, Any]) -> list[Any]:
    up, down = options.get("up", 1), options.get("down", 1)
    padding = options.get("padding", (0, 0))
    return [fir_matrix(n, options["kernel"], up, down, padding) for n in x.shape[1:-1]]


def upfirdn_size(x: Any, **options: Any) -> Any:
    return apply(np.abs(x), [np.abs(a) for a in fir_matrices(x, options)])


def upfirdn_backward(dy: Any, inputs: Arrays, options: dict[str, Any]) -> Arrays:
    return (apply(dy, [a.T for a in fir_matrices(inputs[0], options)]),)


# ---- grids ---------------------------------------------------------------------------------------


def base_places(n: int, aligned: bool) -> Any:
    if aligned:
        return np.linspace(-1, 1, n) if n > 1 else np.zeros(n)
    return (2 * np.arange(n) + 1) / n - 1


def affine_grid(theta: Any, *, size: tuple[int, ...], align_corners: bool = False) -> Any:
    axes = [base_places(n, align_corners) for n in size[1:-1]]
    places = np.meshgrid(*axes, indexing="ij")[::-1]
    ones = np.ones(size[1:-1])
    base = np.stack([*places, ones], -1).astype(theta.dtype)
    return np.einsum("...b,nab->n...a", base, theta)


def affine_grid_size(theta: Any, *, size: tuple[int, ...], align_corners: bool = False) -> Any:
    return np.abs(theta).sum(-1).reshape(
        len(theta), *(1,) * (len(size) - 2), theta.shape[1]
    ) * np.ones((*size[:-1], 1))


def mirror(u: Any, low: float, span: float) -> Any:
    if span == 0:
        return np.zeros_like(u)
    v = np.abs(u - low)
    flips = np.floor(v / span)
    rest = v - flips * span
    return np.where(flips % 2 == 0, rest, span - rest) + low


def elements(g: Any, n: int, padding_mode: str, aligned: bool) -> Any:
    half = g.dtype.type(((n - 1) if aligned else n) / 2)
    u = (g + 1) * half - g.dtype.type(0 if aligned else 0.5)
    if padding_mode == "reflection":
        u = mirror(u, 0 if aligned else -0.5, n - 1 if aligned else n)
    if padding_mode != "zeros":
        u = np.clip(u, 0, n - 1)
    return u


def corners_of(places: list[Any], mode: str) -> list[tuple[list[Any], list[Any], list[Any]]]:
    """Indices, weights along each axis and their derivatives, of each corner around the places."""
    if mode == "nearest":
        one = [np.ones_like(u) for u in places]
        return [([np.rint(u).astype(int) for u in places], one, [np.zeros_like(u) for u in places])]
    corners = []
    for bits in np.ndindex(*(2,) * len(places)):
        low = [np.floor(u) for u in places]
        at = [v.astype(int) + bit for v, bit in zip(low, bits)]
        weights = [u - v if bit else 1 - (u - v) for u, v, bit in zip(places, low, bits)]
        corners.append((at, weights, [np.full_like(u, 2 * b - 1) for u, b in zip(places, bits)]))
    return corners


def product(factors: list[Any]) -> Any:
    result = np.ones_like(factors[0])
    for f in factors:
        result = result * f
    return result


def located(x: Any, at: list[Any]) -> tuple[tuple[Any, ...], Any]:
    """An index of x's pixels that is always valid, and where it lies inside."""
    inside = np.ones(at[0].shape, bool)
    for i, n in zip(at, x.shape[1:-1]):
        inside &= (i >= 0) & (i < n)
    lead = np.arange(len(x)).reshape(-1, *(1,) * (at[0].ndim - 1))
    held = tuple(np.clip(i, 0, n - 1) for i, n in zip(at, x.shape[1:-1]))
    return (lead, *held), inside


def read(x: Any, places: list[Any], mode: str, fill: float = 0.0) -> Any:
    """x (N, spatial…, C) at places in elements, first spatial axis first, each (N, …)."""
    y = 0
    for at, weights, _ in corners_of(places, mode):
        index, inside = located(x, at)
        value = np.where(inside[..., None], x[index], x.dtype.type(fill))
        y = y + product(weights)[..., None] * value
    return y


def grid_sample(
    x: Any,
    grid: Any,
    *,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool = False,
) -> Any:
    spatial = x.shape[1:-1]
    places = [
        elements(grid[..., len(spatial) - 1 - i], n, padding_mode, align_corners)
        for i, n in enumerate(spatial)
    ]
    return read(x, places, mode)


def grid_sample_backward(dy: Any, inputs: Arrays, options: dict[str, Any]) -> Arrays:
    x, grid = inputs
    mode = options.get("mode", "bilinear")
    padding, aligned = options.get("padding_mode", "zeros"), options.get("align_corners", False)
    dims = x.ndim - 2
    places, slopes = [], []
    for i, n in enumerate(x.shape[1:-1]):
        g = grid[..., dims - 1 - i]
        places.append(elements(g, n, padding, aligned))
        # where a place is held or mirrored, from a difference: it is linear in between
        h = g.dtype.type(1e-3)
        ahead, behind = (elements(g + d, n, padding, aligned) for d in (h, -h))
        half = ((n - 1) if aligned else n) / 2
        slopes.append(np.rint((ahead - behind) / (2 * h * half)) * half if half else 0 * g)
    dx, dgrid = np.zeros_like(x), np.zeros_like(grid)
    for at, weights, signs in corners_of(places, mode):
        index, inside = located(x, at)
        share = np.where(inside, product(weights), 0)[..., None] * dy
        np.add.at(dx, index, share)
        value = np.where(inside, (x[index] * dy).sum(-1), 0)
        for a in range(dims):
            others = [w if i != a else signs[a] for i, w in enumerate(weights)]
            dgrid[..., dims - 1 - a] += (product(others) * value * slopes[a]).astype(grid.dtype)
    return dx, dgrid


def grid_sample_size(x: Any, grid: Any, **options: Any) -> Any:
    """Places are rounded: by up to eps times the size of the image, at a slope of the values."""
    return (
        np.abs(x).max(initial=0.0)
        * (2 + sum(x.shape[1:-1]) * np.abs(grid).max(initial=1.0))
        * np.ones((*grid.shape[:-1], x.shape[-1]))
    )


def grid_inputs(case: Case, rng: np.random.Generator) -> Arrays:
    """Places that keep clear of the kinks, where no difference quotient is the derivative."""
    x_shape, grid_shape = case.shapes
    options = dict(case.options)
    grid = rng.uniform(-1.4, 1.4, grid_shape)
    aligned = options.get("align_corners", False)
    for i, n in enumerate(x_shape[1:-1]):
        axis = len(x_shape) - 3 - i
        half = ((n - 1) if aligned else n) / 2
        if half == 0:
            continue
        u = (grid[..., axis] + 1) * half - (0 if aligned else 0.5)
        kink = np.round(2 * u) / 2
        near = np.abs(u - kink) < 1e-2
        u = np.where(near, kink + 0.05, u)
        grid[..., axis] = (u + (0 if aligned else 0.5)) / half - 1
    return rng.standard_normal(x_shape), grid


def own_grid_sample_backward(dy: Any, inputs: Arrays, y: Any, options: dict[str, Any]) -> Arrays:
    return tuple(kernels.grid_sample_backward(dy, *inputs, **options))


def warp_affine(
    x: Any,
    matrix: Any,
    *,
    size: Any = None,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    fill: float = 0.0,
) -> Any:
    spatial = x.shape[1:-1]
    size = spatial if size is None else size
    index = np.meshgrid(*(np.arange(n) for n in size), indexing="ij")[::-1]
    base = np.stack([*index, np.ones(size)], -1)
    place = np.einsum("...b,nab->n...a", base, matrix.astype(np.float64)).astype(x.dtype)
    places = []
    for i, n in enumerate(spatial):
        u = place[..., len(spatial) - 1 - i]
        if padding_mode == "reflection":
            u = mirror(u, -0.5, n)
        if padding_mode != "zeros":
            u = np.clip(u, 0, n - 1)
        places.append(u)
    return read(x, places, mode, fill)


class WarpInputs:
    """Matrices near the identity; always float64, which the harness would cast."""

    def __call__(self, case: Case, rng: np.random.Generator) -> Arrays:
        x_shape = case.shapes[0]
        dims = len(x_shape) - 2
        matrix = np.concatenate(
            [np.eye(dims) + rng.uniform(-0.4, 0.4, (x_shape[0], dims, dims)),
             rng.uniform(-3, 3, (x_shape[0], dims, 1))], -1,
        )  # fmt: skip
        return rng.standard_normal(x_shape), matrix


def warp_size(x: Any, matrix: Any, **options: Any) -> Any:
    reach = np.abs(matrix).max(initial=1.0) * sum(x.shape[1:-1])
    return (
        np.abs(x).max(initial=0.0) * (2 + reach) * np.ones(warp_affine(x, matrix, **options).shape)
    )


OPS = {
    "interpolate": Op(
        kernels.interpolate,
        interpolate,
        magnitude=interpolate_size,
        backward=own_interpolate_backward,
        reference_backward=interpolate_backward,
    ),
    "upfirdn": Op(
        kernels.upfirdn,
        upfirdn,
        magnitude=upfirdn_size,
        backward=lambda dy, inputs, y, options: (
            kernels.upfirdn_backward(dy, inputs[0].shape[1:-1], **options),
        ),
        reference_backward=upfirdn_backward,
    ),
    "affine_grid": Op(
        kernels.affine_grid,
        affine_grid,
        magnitude=affine_grid_size,
        backward=lambda dy, inputs, y, options: (
            kernels.affine_grid_backward(dy, align_corners=options.get("align_corners", False)),
        ),
    ),
    "grid_sample": Op(
        kernels.grid_sample,
        grid_sample,
        inputs=grid_inputs,
        magnitude=grid_sample_size,
        backward=own_grid_sample_backward,
        wrt=(0, 1),
        reference_backward=grid_sample_backward,
    ),
    "warp_affine": Op(
        lambda x, matrix, **options: kernels.warp_affine(x, matrix.astype(np.float64), **options),
        warp_affine,
        inputs=WarpInputs(),
        magnitude=warp_size,
    ),
}


def _case(op: str, *shapes: tuple[int, ...], **options: Any) -> Case:
    return Case("resize", op, op, shapes, options=tuple(options.items()))


_LINE, _IMAGE, _VOLUME = (2, 7, 5), (2, 6, 9, 3), (2, 3, 4, 5, 3)

CASES = (
    *(
        _case("interpolate", shape, size=size, mode=mode)
        for mode in ("nearest", "nearest-exact", "linear", "area")
        for shape, size in (
            (_LINE, 16), (_LINE, 7), (_LINE, 3), (_LINE, 1), ((2, 1, 4), 5),
            (_IMAGE, (12, 18)), (_IMAGE, (5, 9)), (_IMAGE, (6, 20)), (_IMAGE, (1, 1)),
            (_VOLUME, (6, 8, 10)), (_VOLUME, (2, 4, 7)),
        )
    ),
    *(
        _case("interpolate", (2, 5, 6, c), size=(10, 13), mode=mode)
        for mode in ("nearest", "bilinear", "bicubic")
        for c in (1, 2, 4, 7, 8, 15, 16, 17, 33)
    ),
    *(
        _case("interpolate", shape, size=size, mode=mode, align_corners=True)
        for shape, size, mode in (
            (_LINE, 13, "linear"), (_LINE, 1, "linear"), (_IMAGE, (11, 4), "bilinear"),
            (_IMAGE, (11, 17), "bicubic"), (_VOLUME, (5, 2, 9), "trilinear"),
        )
    ),
    *(
        _case("interpolate", _IMAGE, scale_factor=factor, mode=mode, **rest)
        for factor in (2.0, 0.5, 1.7, (1.3, 2.4))
        for mode, rest in (
            ("nearest", {}), ("bilinear", {}), ("bicubic", {}),
            ("nearest", {"recompute_scale_factor": True}),
            ("bilinear", {"recompute_scale_factor": True}),
        )
    ),
    # past one segment of a row, past a task, and sums of many terms
    _case("interpolate", (1, 150, 90), size=250, mode="linear"),
    _case("interpolate", (1, 3, 400, 70), size=(4, 260), mode="linear"),
    _case("interpolate", (3, 20, 30, 16), size=(40, 60), mode="bilinear"),
    _case("interpolate", (1, 2, 90, 150), size=(4, 180), mode="nearest"),
    _case("interpolate", (2, 1, 1, 20), size=(90, 70), mode="bilinear"),
    _case("interpolate", (2, 90, 70, 20), size=(1, 1), mode="area"),
    _case("interpolate", (0, 4, 4, 3), size=(8, 8), mode="bilinear"),
    _case("interpolate", (2, 4, 4, 0), size=(8, 8), mode="bilinear"),
    *(
        _case("upfirdn", shape, kernel=kernel, up=up, down=down, padding=padding)
        for shape, kernel, up, down, padding in (
            (_IMAGE, (1.0, 3.0, 3.0, 1.0), 1, 1, (2, 1)),
            (_IMAGE, (1.0, 3.0, 3.0, 1.0), 2, 1, (2, 1)),
            (_IMAGE, (1.0, 3.0, 3.0, 1.0), 1, 2, (1, 1)),
            (_IMAGE, (0.5, -1.0, 2.0), 3, 2, (4, 0)),
            (_IMAGE, (2.0,), 3, 1, (0, 5)),
            (_IMAGE, (1.0, 2.0), 1, 3, (0, 0)),
            (_LINE, (1.0, 2.0, 3.0, 4.0, 5.0), 2, 3, (9, 8)),
            (_LINE, (0.0, 1.0, 0.0), 1, 1, (0, 0)),
            (_VOLUME, (1.0, 2.0, 1.0), 2, 1, (1, 1)),
            ((1, 9, 40, 160), (1.0, 3.0, 3.0, 1.0), 2, 1, (2, 1)),
            ((1, 9, 250, 160), (1.0, 3.0, 3.0, 1.0), 1, 2, (1, 1)),
            ((1, 400, 50), tuple(float(k) for k in range(1, 25)), 1, 1, (12, 11)),
            ((0, 8, 8, 3), (1.0, 1.0), 1, 2, (0, 0)),
        )
    ),
    *(
        _case("affine_grid", (n, d, d + 1), size=(n, *spatial, 3), align_corners=aligned)
        for aligned in (False, True)
        for n, d, spatial in (
            (3, 2, (5, 7)), (1, 2, (1, 1)), (2, 2, (200, 130)), (0, 2, (3, 3)), (2, 2, (0, 4)),
            (2, 3, (3, 4, 5)), (1, 3, (1, 6, 1)),
        )
    ),
    *(
        _case(
            "grid_sample", (2, 5, 7, 3), (2, 4, 6, 2),
            mode=mode, padding_mode=padding_mode, align_corners=aligned,
        )
        for mode in ("bilinear", "nearest")
        for padding_mode in ("zeros", "border", "reflection")
        for aligned in (False, True)
    ),
    *(
        _case("grid_sample", (2, 3, 4, 5, 2), (2, 2, 3, 4, 3), mode=mode, padding_mode=padding)
        for mode in ("bilinear", "nearest")
        for padding in ("zeros", "border", "reflection")
    ),
    *(_case("grid_sample", (2, 4, 5, c), (2, 6, 7, 2)) for c in (1, 2, 4, 8, 15, 16, 17, 40)),
    _case("grid_sample", (2, 20, 30, 16), (2, 30, 40, 2), padding_mode="border"),
    _case("grid_sample", (1, 1, 1, 3), (1, 9, 9, 2), padding_mode="reflection", align_corners=True),
    _case("grid_sample", (1, 40, 40, 1), (1, 50, 70, 2)),
    # few channels of many images: the gradient goes image by image
    *(
        _case("grid_sample", (17, 5, 6, c), (17, 4, 9, 2), mode=mode, padding_mode=padding)
        for c in (1, 3)
        for mode in ("bilinear", "nearest")
        for padding in ("zeros", "reflection")
    ),
    _case("grid_sample", (16, 3, 4, 5, 1), (16, 2, 3, 4, 3)),
    _case("grid_sample", (0, 4, 4, 3), (0, 5, 5, 2)),
    _case("grid_sample", (2, 4, 4, 3), (2, 0, 5, 2)),
    _case("grid_sample", (2, 4, 4, 0), (2, 3, 5, 2)),
    *(
        _case("warp_affine", shape, mode=mode, padding_mode=padding, **rest)
        for mode in ("bilinear", "nearest")
        for padding, rest in (
            ("zeros", {}), ("zeros", {"fill": 0.7}), ("border", {}), ("reflection", {}),
        )
        for shape in ((3, 6, 9, 3), (2, 3, 4, 5, 2))
    ),
    *(_case("warp_affine", (3, 20, 70, c), size=(30, 90)) for c in (1, 3, 4, 16, 19)),
)  # fmt: skip
