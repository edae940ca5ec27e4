"""The command line, thin over the SDK."""
