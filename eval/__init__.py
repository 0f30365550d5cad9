"""Evaluations, run from the checkout: `python -m eval <protocol>`."""
