"""Synthetic training data: labelled clips, composed from cutouts, photos and sounds."""
