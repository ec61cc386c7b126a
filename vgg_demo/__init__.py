"""Image classification with VGG16 and the other Keras Applications models.

    from pathlib import Path

    from vgg_demo import ModelStore, Settings, classify, get_spec

    store = ModelStore(Settings())
    result = classify(Path("cat.jpg").read_bytes(), get_spec("mini_vgg"), store)
    print(result.predictions(3))

Importing this package does not import TensorFlow; the first call of `classify` does.
"""

from vgg_demo.analysis.verdict import Verdict, interpret, one_line
from vgg_demo.errors import VggDemoError
from vgg_demo.images.decode import decode
from vgg_demo.images.photo import Photo, open_photo
from vgg_demo.inference.classify import classify, classify_photo
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.inference.results import Classification, Prediction
from vgg_demo.limits import ImageLimits
from vgg_demo.models.preprocess import Resize, prepare
from vgg_demo.models.registry import MODELS, ModelSpec, get_spec
from vgg_demo.settings import Settings
from vgg_demo.version import __version__

__all__ = [
    "MODELS",
    "Classification",
    "ImageLimits",
    "ModelSpec",
    "ModelStore",
    "Photo",
    "Prediction",
    "Resize",
    "Settings",
    "Verdict",
    "VggDemoError",
    "__version__",
    "classify",
    "classify_photo",
    "decode",
    "get_spec",
    "interpret",
    "one_line",
    "open_photo",
    "prepare",
]
