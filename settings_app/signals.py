"""What this app tells others.

``changed``: settings were changed by this process, and that is committed. Arguments: ``keys``.
``seen``: this process has another picture of the settings than before (``settings_app.seen``). Sent in
whichever thread has looked; receivers note what they need, and do nothing else.
"""

from django.dispatch import Signal

changed = Signal()
seen = Signal()
