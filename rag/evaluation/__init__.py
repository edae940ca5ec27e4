"""Measurement of the search: sets, metrics with intervals, robustness, comparisons, and questions about own media.

`command` turns the arguments of `exhibit eval` into an `Evaluation`. To measure encoders, `datasets` loads a set of
queries and items, `cached_vectors` embeds them and `encoder_trials` ranks them. To measure a knowledge base,
`labelled_questions` reads questions and `question_trials` searches for them. Both give trials, which `results` turns
into rows with `metrics`; `report_page` shows them with what was missed. To measure answers, `answer_trials` asks,
`answer_runs` keeps what was answered and what people judged, `graded_answers` measures it with `answer_metrics`, and
`answer_results` makes an evaluation of it. `question_writer` writes questions, `perturb` distorts queries and media,
and `explore` looks at a collection as a whole.
"""
