"""Language models, the prompts they are given, and the tokens they use."""
