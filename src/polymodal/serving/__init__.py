"""The HTTP server of a trained model: ``polymodal serve`` (FastAPI and uvicorn, the extra ``serve``; no torch).

A request's way: ``protocol`` (connections and headers within bounds) → ``gate`` (request id, key, errors, log) →
``app`` (routes) → ``bodies`` (JSON, multipart or Arrow, within bounds) → ``questions`` and ``cells`` (rows checked
against the model's columns; no path or address is opened) → ``batcher`` (rows of concurrent requests joined) →
``served_model`` (the model, in a thread of its own) → ``answers`` (plain JSON).
"""
