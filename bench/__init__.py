"""Benchmark Frontrow: its work per second, beside what the machine could do and what the usual way does.

See README.md.
"""
