"""The catalog of assets and their states, in SQL.

Ingestion records each file in `catalog` before and after it writes the file's segments to the index; lists and counts
read from it. `database` opens databases and maps their errors, `catalog_tables` defines the catalog's tables, and
`migrations` brings a database of an earlier version to the newest schema, for this and every other store. `contents`
lists what a knowledge base holds, from the catalog and the index.
"""
