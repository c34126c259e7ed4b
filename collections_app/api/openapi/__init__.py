"""OpenAPI 3.1 of what exists right now, for whoever asks.

``document`` puts the parts together and keeps the bytes with the snapshot;
``records`` and ``definitions`` write the heart's own paths from the snapshot;
``fixed`` lets drf-spectacular describe every other DRF view; ``values`` and
``parts`` are the schemas, parameters and answers that they share.
"""
