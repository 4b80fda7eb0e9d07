"""Data sets and partitions; importing this package fills their registries, and reads no data."""

from fedmed.data import arrays, diabetes, digits, heart_disease, mnist, partitions, table

__all__ = ["arrays", "diabetes", "digits", "heart_disease", "mnist", "partitions", "table"]
