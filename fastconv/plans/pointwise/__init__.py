"""1×1 filters, which read the input where it is."""
