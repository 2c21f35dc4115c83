# One image for workers and Flower. Build: docker build -t celery-mailer .
FROM python:3.11-slim AS build
WORKDIR /src
RUN python -m venv /venv
COPY pyproject.toml constraints.txt README.md LICENSE mailer_pytest.py ./
COPY mailer mailer
COPY workers workers
RUN /venv/bin/pip install --no-cache-dir -c constraints.txt '.[flower]'

FROM python:3.11-slim
RUN useradd --system --uid 10001 --no-create-home mailer
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
USER mailer
# SIGTERM lets transactions end and hands the rest back; give it longer than MAILER_SHUTDOWN_SECONDS
STOPSIGNAL SIGTERM
CMD ["mailer", "worker"]
