"""How the bundled image-text encoder `lite` was trained; nothing here is needed to use it. See README.md."""
