"""The HTTP API: endpoints, request limits, access control and metrics."""

from vgg_demo.api.endpoints import create_api
from vgg_demo.api.service import Service
from vgg_demo.api.settings import ApiSettings

__all__ = ["ApiSettings", "Service", "create_api"]
