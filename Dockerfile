# docker build -t fastcms .    docs/deploy.md says how it is run.
FROM python:3.11-slim-trixie AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /venv
COPY requirements.txt requirements-s3.txt requirements-ses.txt ./
RUN /venv/bin/pip install -r requirements.txt -r requirements-s3.txt -r requirements-ses.txt

FROM python:3.11-slim-trixie
# Backups need a pg_dump as new as the server or newer: that of Debian 13 is 17, and so is the server in deploy/compose.yaml.
RUN apt-get update \
    && apt-get install -y --no-install-recommends postgresql-client-17 tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --home-dir /data fastcms \
    && install -d -o fastcms -g fastcms -m 700 /data
COPY --from=build /venv /venv
WORKDIR /app
COPY . .
RUN /venv/bin/python -m compileall -q .
# Static files are served from the packages that they come in: there is nothing to collect.
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 ENV=production ENV_FILE= DATA_DIR=/data PORT=8000
USER fastcms
VOLUME /data
EXPOSE 8000
# Alive, not ready: whoever restarts containers must not do it because the database is away. By a name that is served.
HEALTHCHECK --interval=15s --timeout=5s --start-period=120s --retries=4 CMD ["python", "deploy/alive.py"]
# SIGTERM lets requests under way finish, for 15 s: give it 30 to stop.
ENTRYPOINT ["tini", "--"]
CMD ["python", "manage.py", "serve", "--host", "0.0.0.0"]
