"""1×1 filters, on pixels or planes as they stand: no window, no columns."""
