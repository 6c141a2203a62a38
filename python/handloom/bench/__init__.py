"""Benchmarks, and the case list that they share with the tests."""
