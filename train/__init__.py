"""Training: an application beside the library, run from the checkout.

    python -m train <system>

`loop` is the one loop that every system uses; it is not part of the wheel.
"""
