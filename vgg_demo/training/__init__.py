"""Transfer learning: trains a custom model on features from a pretrained backbone.

photos → dataset → inspection → split → features → training → validation → bundle
"""
