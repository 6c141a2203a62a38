"""Hand-written kernels, woven into every classical network type."""
