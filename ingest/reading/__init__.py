"""The processes that read files, apart from the main one because decoders of untrusted files crash."""
