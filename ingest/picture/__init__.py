"""From pictures to segments: pixels, metadata, text, captions."""
