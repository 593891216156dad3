"""The benchmark: what Frontrow does a second, beside what the machine could do and what the usual way does. See README.md."""
