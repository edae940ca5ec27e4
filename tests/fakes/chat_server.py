"""A server that speaks OpenAI's chat API."""

from __future__ import annotations

import json
from typing import Any

from rag.llm.retries import RETRY_WAITS_S
from tests.fakes.server import Handler


class ChatHandler(Handler):
    """Answers as the name of the model says: busy, down, locked, missing, strict, old, blind or mute."""

    def answer(self, request: dict[str, Any]) -> None:
        text = json.dumps(request["messages"])
        status = {"busy": 429, "down": 503, "locked": 401, "missing": 404}.get(request["model"])
        if request["model"] == "busy" and len(self.server.requests) > len(RETRY_WAITS_S):
            status = None
        if status:
            self.send_json(status, {"error": {"message": f"status {status}"}})
        elif len(text) > 20_000:
            code = "context_length_exceeded"
            message = "This model's maximum context length is 4096 tokens."
            self.send_json(400, {"error": {"message": message, "code": code, "type": "invalid_request_error"}})
        elif request.get("logprobs") and request["model"] == "strict":
            self.send_json(400, {"error": {"message": "logprobs are not supported by this model"}})
        elif request.get("stream_options") and request["model"] == "old":
            self.send_json(400, {"error": {"message": "unknown parameter: stream_options"}})
        elif "image_url" in text and request["model"] == "blind":
            self.send_json(400, {"error": {"message": "this model reads text only"}})
        elif request.get("stream"):
            self._stream(request)
        else:
            self.send_json(200, _completion(request, text))

    def _stream(self, request: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for piece in ("Paris", " is", " it"):
            delta = {"index": 0, "delta": {"content": piece}, "finish_reason": None}
            self._event(request, [delta])
        self._event(request, [{"index": 0, "delta": {}, "finish_reason": "stop"}])
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, request: dict[str, Any], choices: list[dict[str, Any]]) -> None:
        chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": request["model"]}
        self.wfile.write(b"data: " + json.dumps(chunk | {"choices": choices}).encode() + b"\n\n")


def _completion(request: dict[str, Any], text: str) -> dict[str, Any]:
    yes, no = (-0.1, -2.4) if "France" in text else (-2.4, -0.1)
    top = [{"token": "Yes", "logprob": yes, "bytes": None}, {"token": " No", "logprob": no, "bytes": None}]
    judged = {"token": "Yes", "logprob": yes, "bytes": None, "top_logprobs": top}
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": {
            "role": "assistant",
            "content": '{"order":[1,2,3]}' if "response_format" in request else "Paris is it",
        },
        "logprobs": {"content": [judged], "refusal": None}
        if request.get("logprobs") and request["model"] != "mute"
        else None,
    }
    usage = {
        "prompt_tokens": len(text),
        "completion_tokens": min(3, request["max_tokens"]),
        "total_tokens": len(text) + 3,
    }
    envelope = {"id": "1", "object": "chat.completion", "created": 1, "model": request["model"]}
    return envelope | {"choices": [choice], "usage": usage}
