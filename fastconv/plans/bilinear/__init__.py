"""Tiles that are mapped, multiplied component by component, and mapped back."""
