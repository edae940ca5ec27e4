"""Decide by its content what a file is.

`identify` finds files and makes a `Source` of each; `sniff` knows binary formats, `plain` kinds of text; `archive`
checks the ZIP container of office documents before a library opens it.
"""
