"""Benchmarks of Phonoscope: time and memory of its methods against the plain methods, on the same data.

Run with `python -m benchmarks <name>`. `results/` holds the numbers of the last runs, docs/benchmarks.md explains them.
"""
