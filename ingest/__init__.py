"""Ingest: from files to segments in the index.

A run of `pipeline` goes through these steps:

- `scan` finds the files, and `captions` collects what other files say about pictures;
- `reading` runs a reader for each new file in a child process;
- the readers in `document`, `picture` and `audio_video` yield segments; `formats` decides which reader a file gets;
- `pipeline` embeds the segments (`vectors`) and writes each file whole, to the index and the catalog.

`plan` estimates a run without reading.
"""
