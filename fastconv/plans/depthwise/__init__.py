"""Groups of one or a few channels, summed tap by tap; no product to block for."""
