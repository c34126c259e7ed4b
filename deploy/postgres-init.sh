#!/bin/sh
# Run once, by the image of PostgreSQL, on an empty volume. The product's user owns its database and is no
# superuser: what an archive of a backup says is run as this user when it is restored.
set -eu
psql -v ON_ERROR_STOP=1 -v password="$FASTCMS_PASSWORD" --username postgres <<'SQL'
CREATE ROLE fastcms LOGIN PASSWORD :'password';
CREATE DATABASE fastcms OWNER fastcms;
SQL
