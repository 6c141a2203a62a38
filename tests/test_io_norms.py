"""PyTorch's spectral, weight and image norms come over, and go back, with their layers' outputs."""

from __future__ import annotations

import numpy as np
import pytest

import handloom as hl
from handloom import io, nn

torch = pytest.importorskip("torch")
theirs = torch.nn
SPACE = {1: (7,), 2: (6, 5), 3: (4, 4, 3)}

KINDS = {
    "spectral": (theirs.utils.spectral_norm, nn.utils.spectral_norm),
    "spectral, new": (theirs.utils.parametrizations.spectral_norm, nn.utils.spectral_norm),
    "weight, new": (theirs.utils.parametrizations.weight_norm, nn.utils.weight_norm),
}
if hasattr(theirs.utils, "weight_norm"):
    KINDS["weight"] = (theirs.utils.weight_norm, nn.utils.weight_norm)


def agree(t, ours, shape, state, like=None):
    """Loads t's state into ours, compares the two in evaluation, and takes the weights back.

    In evaluation, as PyTorch's newer spectral norm iterates in another order.
    """
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    t.eval()
    ours.load_state_dict(io.from_torch(state, like=like))
    ours.eval()
    expected = t(torch.tensor(x)).detach().numpy()
    y = ours(np.ascontiguousarray(np.moveaxis(x, 1, -1))).numpy()
    np.testing.assert_allclose(np.moveaxis(y, -1, 1), expected, rtol=2e-3, atol=1e-4)
    known, back = t.state_dict(), io.to_torch(ours, like=t)
    assert set(back) == set(known)
    for name, value in known.items():
        np.testing.assert_allclose(back[name].numpy(), value.numpy(), err_msg=name)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("layer", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize(("inputs", "outputs", "size"), [(3, 5, 3), (3, 3, 3), (2, 6, 1)])
def test_norms_of_weights(kind, axes, layer, inputs, outputs, size):
    norm, our_norm = KINDS[kind]
    for source in ("module", "like", "names"):
        torch.manual_seed(0)
        t = norm(getattr(theirs, f"{layer}{axes}d")(inputs, outputs, size))
        ours = our_norm(getattr(nn, f"{layer}{axes}d")(inputs, outputs, size))
        if source == "names" and inputs == outputs and "spectral" in kind:
            with pytest.raises(ValueError, match=r"a transposed one.*pass the module as like="):
                io.from_torch(t.state_dict())
            continue
        state = t if source == "module" else t.state_dict()
        agree(t, ours, (2, inputs, *SPACE[axes]), state, ours if source == "like" else None)


def test_layer_norm_over_images():
    t = theirs.LayerNorm((4, 6, 5))
    torch.nn.init.normal_(t.weight)
    torch.nn.init.normal_(t.bias)
    agree(t, nn.LayerNorm((6, 5, 4)), (2, 4, 6, 5), t)
    ours = nn.LayerNorm((6, 5, 4))
    agree(t, ours, (2, 4, 6, 5), t.state_dict(), ours)


def test_layer_norm_over_time_and_features_stays():
    t = theirs.LayerNorm((4, 6))
    torch.nn.init.normal_(t.weight)
    state = io.from_torch(t)
    np.testing.assert_array_equal(state["weight"], t.weight.detach().numpy())
    turned = io.from_torch(t, like=nn.LayerNorm((6, 4)))
    np.testing.assert_array_equal(turned["weight"], t.weight.detach().numpy().T)


def test_a_discriminator_of_equal_channels():
    """RGB to RGB with 3×3 weights: no shape tells which axis is which."""
    torch.manual_seed(0)
    norm, ours = theirs.utils.spectral_norm, nn.utils.spectral_norm
    t = theirs.Sequential(norm(theirs.Conv2d(3, 3, 3)), norm(theirs.ConvTranspose2d(3, 3, 3)))
    hl.manual_seed(0)
    o = nn.Sequential(ours(nn.Conv2d(3, 3, 3)), ours(nn.ConvTranspose2d(3, 3, 3)))
    t.train()
    t(torch.randn(2, 3, 6, 6))
    agree(t, o, (2, 3, 6, 6), t.state_dict(), o)
