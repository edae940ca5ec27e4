"""Prompts as files, so that they can be read, compared and changed without reading code."""
