"""How good a mask is against the truth, and how to show it."""
