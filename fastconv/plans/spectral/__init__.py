"""Groups of one channel with large filters: spectra of tiles."""
