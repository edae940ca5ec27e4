"""Checks the statements of answers against the places that they cite.

`values` looks, before any model judges, for the numbers, dates, names and quotes of a statement in its evidence. Below
it, `evidence` compares them with what a passage holds; `references` marks numbers that only point somewhere; `dates`,
`quantities` (with `units` and `number_words`) and `names` (with `ordinary_words`) read values into `kinds.Value`;
`contrasts` (with `opposites`) finds denials and opposites.

`rereading` hears cited seconds and reads cited pictures again, from the file itself; `narrowing` finds a statement
among words with times and lines with boxes, and compares two hearings.
"""
