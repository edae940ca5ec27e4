"""From a question to a cited answer: open the question, retrieve, rerank, write, check the citations."""
