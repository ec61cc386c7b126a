"""The commands `train`, `find-lr` and `bundle`, and the options that they share."""
