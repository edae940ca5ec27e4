"""Plain text: sentences, words, excerpts."""
