"""Cross-modal visual geo-localization in natural environments."""

__version__ = "0.1.0"
