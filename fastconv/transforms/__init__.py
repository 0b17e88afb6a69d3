"""The linear maps of Winograd and FFT convolution, as straight-line programs without loops."""
