"""Trained networks in Python: ``model = init_model(config, checkpoint)``, then ``predict(model, images)``."""

from .inference import Prediction, init_model, list_images, predict

__all__ = ['Prediction', 'init_model', 'list_images', 'predict']
