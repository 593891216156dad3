"""Provide what Frontrow is measured against, each as a competent engineer would write it.

It imports nothing of Frontrow.
"""
