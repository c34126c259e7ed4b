"""View collections: SELECTs that admins write, and what keeps them from doing more than reading what is public.

``grammar`` says which SQL there is, ``columns`` what its names mean and of which types
its results are, ``checking`` puts the two together and writes the SQL that runs (layer
one); ``enforcing`` has the database itself refuse whatever is not meant (layer two),
``caching`` keeps rows, ``definitions`` makes collections of it all.
"""
