"""From documents to passages, figures and table rows."""
