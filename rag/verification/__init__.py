"""Checks the statements of answers against the places that they cite."""
