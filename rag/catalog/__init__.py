"""The catalog of assets and their states, in SQL."""
