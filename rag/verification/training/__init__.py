"""Trained the verifier's networks; nothing here is needed to use them. The card is `../README.md`."""
