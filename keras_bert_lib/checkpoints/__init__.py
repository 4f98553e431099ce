"""Checkpoints of this and of other libraries."""
