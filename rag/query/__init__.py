"""The language of queries and of metadata filters: plain values, without files and models.

language.py  parts in any medium, with weights and negatives
filters.py   conditions on metadata, parsed once for both stores
options.py   where to look, how many hits, for which user
"""
