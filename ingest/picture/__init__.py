"""Turn pictures into segments: pixels, metadata, text, captions.

`images` reads a picture file: pixels in the size of `pixels`, text from `ocr`, captions and fields from `metadata`.
`mentions` and `product_table` read what other files say about pictures.
"""
