"""The prompts of language models: one Markdown file for each task, a section for each message."""
