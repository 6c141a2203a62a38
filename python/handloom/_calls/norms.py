"""How the kernels know the norms: over the rows of each channel, and along each row."""

BATCH, INSTANCE, GROUP, ADAIN = range(4)
LAYER, RMS, PIXEL = range(3)
