"""Products on matrix units: operands split into halves of bfloat16."""
