"""From a question to a cited answer.

`query_engine` leads: it opens the question (`open_question`, `followup`), retrieves (`rag.retrieval`), has the language
model judge the hits (`reranker`) and write the answer (`answerer`). Below these, `evidence_text` describes hits for the
model, `markers` and `citations` check what it wrote, and `attribution` finds the evidence that holds a statement.
`transcribe` serves the speech of recordings alone.
"""
