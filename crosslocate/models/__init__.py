"""How an image becomes a descriptor, and the losses that shape it. Pure torch."""
