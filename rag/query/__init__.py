"""The language of questions and of metadata filters: plain values, no files and no models."""
