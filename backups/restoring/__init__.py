"""Putting a backup back.

    staging     an archive, verified and unpacked beside the data, and the marker that says so
    applying    prepare a copy, close the gate, one commit that swaps the database, then tidy
    sqlite, postgresql    how each engine prepares and swaps
    preparing   a process of its own that migrates and settles the copy before anybody sees it
    by_hand     a database that somebody has copied over ours

There is one moment that counts: the commit that swaps the database. Stored files have names that are never
given twice, so those of both states lie beside each other; the new state's are all there before that commit,
and what only the old state has is moved away after it. Whoever dies before the commit has changed nothing
that anybody reads; whoever dies after it has restored everything, and the next start tidies.
"""
