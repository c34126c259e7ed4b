"""The demo: public data that nobody here wrote, as collections that relate to each other.

``source`` reads the files, ``content`` makes records of their rows, ``blueprint``
says what the collections look like, ``load`` brings both into the database.
"""
