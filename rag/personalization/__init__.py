"""Preferences of users in pictures, stored with their consent.

    preference.py  a preference as one vector, and how it ranks hits (pure)
    store.py       preferences by user in a database, from consent until erasure

An app reports the hits that a user chose to `PreferenceStore.like`; a search with `user=` ranks with the result.
"""
