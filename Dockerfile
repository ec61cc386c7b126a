# The page and the API on port 8501. See docs/deploy.md.
FROM python:3.12-slim

WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
COPY requirements-ray.txt requirements-dev.txt pyproject.toml README.md LICENSE ./
COPY vgg_demo vgg_demo
RUN pip install --no-cache-dir --no-deps .

# Weights are downloaded to /weights. Mount a volume there to keep them.
RUN useradd --create-home app && mkdir -p /weights/models && chown -R app /weights
ENV KERAS_HOME=/weights PYTHONUNBUFFERED=1
VOLUME /weights
USER app

EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD \
    ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8501/api/healthz')"]
CMD ["vgg-demo", "serve", "--host", "0.0.0.0"]
