"""Presets of the training runs, one module a system."""
