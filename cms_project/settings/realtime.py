"""Who is here, and what is said in rooms."""

from __future__ import annotations

from cms_project.settings.environment import flag, positive, read

# How long whoever was connected to a process that died still counts as being here (seconds). Others notice
# within some seconds more.
REALTIME_LEASE_SECONDS = read(positive, 40, "REALTIME_LEASE_SECONDS")

# Whether conversations over WebSockets are for accounts only, and what one socket may say in the long run.
ROOMS_REQUIRE_TOKEN = read(flag, False, "ROOMS_REQUIRE_TOKEN")
ROOMS_MESSAGES_PER_SECOND = read(positive, 50, "ROOMS_MESSAGES_PER_SECOND")
