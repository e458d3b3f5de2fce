"""Helpers that are not tensors, derivatives, layers or optimisers."""
