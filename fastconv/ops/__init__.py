"""Array operations besides convolution: a forward and a backward each, on plain ndarrays."""
