"""Statistics of a comparison between hospitals: arrays in, numbers out."""
