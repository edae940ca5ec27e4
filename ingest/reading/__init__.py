"""Run readers in child processes, apart from the main one, because decoders of untrusted files crash.

`worker` (parent) starts children and sends them requests; `child` serves them with the operations in `readers`, and
replies in the words of `protocol`. `heartbeat` tells the parent that long work goes on.
"""
