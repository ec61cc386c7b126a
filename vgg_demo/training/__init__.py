"""A classifier of one's own, on the shoulders of a network that has learned to see.

photos → dataset → checks → split → features → training → bundle
"""
