"""Trained networks in Python: ``model = init_model(config, checkpoint)``, then ``predict(model, images)``."""

from .inference import Prediction, find_images, init_model, predict

__all__ = ['Prediction', 'find_images', 'init_model', 'predict']
