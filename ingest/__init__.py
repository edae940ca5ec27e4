"""From files to segments in the index."""
