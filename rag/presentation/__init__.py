"""How values appear to people and programs: notebooks, tables, JSON, HTML reports."""
