"""What the product costs, measured: ``python -m bench`` runs all, ``python -m bench.records`` one.

Each module is one bench: a ``main`` that prints a table of what was reached beside
what is wanted. ``common`` is what they share.

The comparisons with PocketBase (``peers`` and those that follow its pattern) ask
running servers over HTTP: ``stock`` makes the rows and knows the right answers,
``pocketbase`` and ``ours`` fill and start the systems, ``systems`` puts a wish into
the words of each, ``load`` sends it and checks what comes back, ``servers`` counts
CPU and memory, ``rounds`` measures turn about and makes the table.
"""
