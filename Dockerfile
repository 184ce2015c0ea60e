ARG PYTHON=python:3.13-slim-trixie

# Everything that is installed, in one virtual environment: the locked dependencies, then the library as a wheel.
FROM ${PYTHON} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
COPY requirements/production.txt requirements/build.txt requirements/
RUN python -m venv /opt/penstock \
 && /opt/penstock/bin/pip install --require-hashes -r requirements/production.txt
RUN python -m venv tools \
 && tools/bin/pip install --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY penstock penstock
RUN tools/bin/python -m hatchling build -t wheel -d wheels \
 && /opt/penstock/bin/pip install --no-index --no-deps wheels/*.whl \
 && /opt/penstock/bin/pip check \
 && /opt/penstock/bin/pip uninstall --yes pip

FROM ${PYTHON}
# The number is fixed, so that volumes keep their owner from one image to the next.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin penstock \
 && install -d -o penstock -g penstock /var/lib/penstock /var/lib/penstock/reports
COPY --from=build /opt/penstock /opt/penstock
WORKDIR /app
COPY celeryconfig.py flowerconfig.py ./
COPY tasks tasks
COPY schedules schedules
COPY workers workers
ENV PATH=/opt/penstock/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PENSTOCK_VAR=/var/lib/penstock \
    TASKS_REPORTS_FOLDER=/var/lib/penstock/reports
USER 10001:10001
# What Celery's processes expect, said because an orchestrator reads it here.
STOPSIGNAL SIGTERM
# Says whether the settings and the servers are in order. docker-compose.yml starts the rest.
CMD ["celery", "-A", "workers", "check"]
