"""OpenAI's API below ``/v1``: a knowledge base appears as a model with the same name.

A chat, a response or a recording comes in; `messages` reads the question from it; `answer_request` asks the knowledge
base and links the evidence; `markdown` writes the answer for chat clients. Each remaining file serves one endpoint.
"""
