"""Simulated studies whose truth is known: hospitals drawn again, quick models, and what the study says of them."""
