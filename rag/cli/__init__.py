"""The command `exhibit`, thin over the SDK: `arguments` parses, `KnowledgeBase` works, `output` prints.

`main` defines the commands, `serving` those that start a server; `doctor` and `demo_tour` hold the two longer ones.
"""
