"""Blocked matrix products: packing the operands, and the loops around the register tile."""
