"""What users like the look of, kept with their consent."""
