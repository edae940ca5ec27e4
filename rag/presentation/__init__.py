"""How values appear to people and programs: notebooks, tables, JSON, HTML reports.

`Hit`, `Answer` and `IngestReport` import this folder only when they are shown. `notebook` and `report` share the views
of `report`, which take pictures and clips from `rag.media`, and fill HTML with `templates`; `json_values` serves the
command line and the server.
"""
