"""How Flower is reached: its address and its credentials. `flowerconfig.py` hands them to Flower."""

from penstock.flower.access import Access

__all__ = ["Access"]
