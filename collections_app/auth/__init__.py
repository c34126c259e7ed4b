"""Accounts in collections of type ``auth``: each such collection is a realm of :mod:`accounts.realms`.

``records`` reads the account of a record, ``realm`` looks accounts up and changes
them, ``tokens`` says who a token of such an account speaks for. What the flows are
stands in ``accounts``; how records are read, checked and written, in
``collections_app.records``.
"""
