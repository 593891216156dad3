"""Limit how fast something goes."""
