"""Adapters to other frameworks: llama-index."""
