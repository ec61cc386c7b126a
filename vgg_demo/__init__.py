"""Shows what VGG16 makes of a photo.

    from vgg_demo import ModelStore, Settings, classify, get_spec

    store = ModelStore(Settings())
    result = classify(open("cat.jpg", "rb").read(), get_spec("mini_vgg"), store)
    print(result.predictions(3))

Importing this package does not import TensorFlow; the first `classify` does.
"""

import os

from vgg_demo import memory
from vgg_demo.analysis.verdict import Verdict, give_verdict, one_line
from vgg_demo.errors import VggDemoError
from vgg_demo.images.decode import decode
from vgg_demo.images.photo import Photo, open_photo
from vgg_demo.inference.classify import classify, classify_photo
from vgg_demo.inference.results import Classification, Prediction
from vgg_demo.inference.store import ModelStore
from vgg_demo.limits import ImageLimits
from vgg_demo.models.preprocess import Resize, prepare
from vgg_demo.models.registry import MODELS, ModelSpec, get_spec
from vgg_demo.settings import Settings
from vgg_demo.version import __version__

# TensorFlow reads this when it is imported. Without it, an allocator that comes with oneDNN
# keeps the memory of a model that has gone: 600 MB after VGG16.
os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")
memory.prepare_allocator()

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
    "give_verdict",
    "one_line",
    "open_photo",
    "prepare",
]
