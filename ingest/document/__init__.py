"""Turn documents into passages, figures and table rows.

`documents` picks the reader of a format. `markup`, `office` and `tables` yield blocks, which `chunking` joins into one
text and splits into passages. A PDF is read page by page: `pdf` combines the lines and pictures of `pdf_page`, the
figures of `pdf_figures` and the passages of `page_lines`, in the reading order of `layout`.
"""
