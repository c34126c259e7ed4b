"""Exit 0 when the server on this machine answers that it is alive: what the container's health check runs."""

import os
import sys
from http.client import HTTPConnection
from urllib.parse import urlsplit

port = int(os.environ.get("PORT") or 8000)
# ALLOWED_HOSTS serves this name; a redirect to HTTPS is a sign of life as well, and is not followed.
host = urlsplit(os.environ.get("BASE_URL", "")).netloc or f"127.0.0.1:{port}"
connection = HTTPConnection("127.0.0.1", port, timeout=4)
connection.request("GET", "/health/live", headers={"Host": host})
sys.exit(0 if connection.getresponse().status < 400 else 1)
