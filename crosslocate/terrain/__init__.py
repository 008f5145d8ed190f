"""From a digital elevation model to what a camera at a place would see."""
