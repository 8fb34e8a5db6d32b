"""A scene, a model or a training in the browser. Nothing here knows fields: pictures come from callables."""
