"""What networks can learn, and how fast: kernels, spectra."""
