# The daemon alone: docker-compose.yml has its PostgreSQL and its Redis.
FROM python:3.12-slim

RUN useradd --system --create-home --home-dir /data cueapi
WORKDIR /app
# A layer of its own, which is built again only when a version changes. The lock file (.ci/lock) is compiled with
# Python 3.11; for 3.12 the same versions are chosen, and each has a wheel for it.
COPY .docker/requirements.lock ./
RUN pip install --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY supervisor ./supervisor
COPY cueapi ./cueapi
RUN pip install --no-cache-dir --no-deps . && pip check

USER cueapi
ENV HOST=0.0.0.0 PORT=8000 DATA_DIR=/data LOG_FORMAT=json
VOLUME /data
EXPOSE 8000
# Exec form: signals reach the daemon, which drains.
CMD ["cueapid"]

HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/status', timeout=4)"]
