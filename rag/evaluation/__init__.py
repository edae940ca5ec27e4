"""How good the search is: sets, metrics with intervals, robustness, comparisons, questions from one's own media."""
