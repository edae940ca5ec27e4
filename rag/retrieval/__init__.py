"""From a query to candidates.

    planner.py         encodes a query into requests to the channels
    channels.py        what each channel compares and can see
    candidates.py      asks the index, and fuses the answers into hits
    fusion.py          rankings of channels to one ranking; quotas and repeats (pure)
    calibration.py     what scores mean in this collection: measured, stored and renewed
    null_queries.py    unrelated questions, pictures and sounds to measure with, encoded once
    moments.py         frames and speech of videos, merged into moments (pure)
    business_rules.py  rules that hide or boost hits (pure)
    retriever.py       runs them in this order

A `Query` becomes a `SearchPlan`, that becomes scored segments by channel, and those become hits with explanations.
"""
