"""What the product costs, measured: ``python -m bench`` runs all, ``python -m bench.records`` one.

Each module is one bench: a ``main`` that prints a table of what was reached beside
what is wanted, and answers its rows. ``common`` is what they share.
"""
