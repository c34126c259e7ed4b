"""The schema engine: what collections are, and how a change of them reaches the database.

``definition`` reads and checks what people send, ``snapshot`` is what exists
right now, ``registry`` keeps the snapshot current in every process, ``ddl``
plans and executes changes, ``service`` is the one door for all of it.
"""
