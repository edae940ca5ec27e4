"""Trained the verifier's networks; nothing here is needed to use them. See README.md."""
