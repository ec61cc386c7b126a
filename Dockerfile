# Page and API on port 8501. See docs/deploy.md.
FROM python:3.12-slim

WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
COPY .streamlit .streamlit
COPY vgg_demo vgg_demo
COPY streamlit_app.py LICENSE README.md ./

# Weights are downloaded into /weights; a volume there keeps them.
RUN useradd --create-home app && mkdir -p /weights/models && chown -R app /weights
ENV KERAS_HOME=/weights PYTHONUNBUFFERED=1
VOLUME /weights
USER app

EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD \
    ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8501/api/healthz')"]
CMD ["streamlit", "run", "streamlit_app.py", "--server.address=0.0.0.0", "--server.headless=true"]
