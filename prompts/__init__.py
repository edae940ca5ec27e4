"""What the language model is told: one Markdown file for each task, a section for each message."""
