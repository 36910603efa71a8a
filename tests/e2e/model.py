"""A language model that says what it was told to: Anthropic's Messages API on loopback, as far as Claude Code uses it."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

Block = dict[str, Any]

SUMMARY = "<analysis>Short.</analysis><summary>All that was said.</summary>"
"""What it answers where the client compacts a conversation."""

_ASKS_FOR_SUMMARY = "create a detailed summary"


def text(words: str) -> Block:
    return {"type": "text", "text": words}


def thought(words: str) -> Block:
    return {"type": "thinking", "thinking": words, "signature": "ZmFrZQ=="}


def call(tool: str, **arguments: Any) -> Block:
    return {"type": "tool_use", "name": tool, "input": arguments}


@dataclass
class Model:
    """What is answered to whom, and what was asked.

    A marker in what the user says, ``[[look]]``, chooses the answers; of several the one that was said last. Which of them comes next is
    told by how many the conversation has since: a request that is repeated gets the same answer.
    """

    url: str = ""
    name: str = field(default_factory=lambda: uuid4().hex[:8])
    requests: list[dict[str, Any]] = field(default_factory=list)
    _answers: dict[str, Sequence[Sequence[Block]]] = field(default_factory=dict)
    _held: dict[str, tuple[str, int]] = field(default_factory=dict)
    _asked: set[tuple[str, int]] = field(default_factory=set)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def answers(self, marker: str, *answers: Sequence[Block]) -> None:
        """Say what is answered, one after another, to who says this."""
        self._answers[marker] = answers

    def hold(self, marker: str, *, until: tuple[str, int]) -> None:
        """Let who says this wait until the answer with this number was asked for by who says something else."""
        self._held[marker] = until

    def message(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a request, whole."""
        marker, number, blocks = self._chosen(request["messages"])
        with self._changed:
            self.requests.append(request)
            self._asked.add((marker, number))
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._held.get(marker, (marker, number)) in self._asked, timeout=10)
        key = f"{self.name}_{marker.strip('[]')}_{number}"
        content = [{**block, "id": f"toolu_{key}_{place}"} if block["type"] == "tool_use" else block for place, block in enumerate(blocks)]
        return {
            "id": f"msg_{key}",
            "type": "message",
            "role": "assistant",
            "model": request["model"],
            "content": content,
            "stop_reason": "tool_use" if content[-1]["type"] == "tool_use" else "end_turn",
            "stop_sequence": None,
            "usage": _usage(number),
        }

    def _chosen(self, messages: list[dict[str, Any]]) -> tuple[str, int, Sequence[Block]]:
        if _ASKS_FOR_SUMMARY in _said(messages[-1]):
            return "summary", 0, [text(SUMMARY)]
        places = [(place, marker) for place, message in enumerate(messages) for marker in self._answers if marker in _said(message)]
        place, marker = max(places)
        number = sum(message["role"] == "assistant" for message in messages[place:])
        return marker, number, self._answers[marker][number]


def _said(message: dict[str, Any]) -> str:
    """Return what the user says; results of tools say nothing."""
    if message["role"] != "user":
        return ""
    content = message["content"]
    return content if isinstance(content, str) else "\n".join(block["text"] for block in content if block["type"] == "text")


def _usage(number: int) -> dict[str, Any]:
    """Return numbers of which each is another one."""
    return {
        "input_tokens": 1000 + number,
        "output_tokens": 50 + number,
        "cache_read_input_tokens": 4000 + number,
        "cache_creation_input_tokens": 300 + 2 * number,
        "cache_creation": {"ephemeral_5m_input_tokens": 200 + number, "ephemeral_1h_input_tokens": 100 + number},
        "service_tier": "standard",
    }


def _events(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give a message as it is streamed."""
    before: dict[str, Any] = {"content": [], "stop_reason": None, "usage": {**message["usage"], "output_tokens": 1}}
    yield {"type": "message_start", "message": {**message, **before}}
    for index, block in enumerate(message["content"]):
        empty, *deltas = _parts(block)
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        yield from ({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas)
        yield {"type": "content_block_stop", "index": index}
    counts = {name: count for name, count in message["usage"].items() if isinstance(count, int)}
    yield {"type": "message_delta", "delta": {"stop_reason": message["stop_reason"], "stop_sequence": None}, "usage": counts}
    yield {"type": "message_stop"}


def _parts(block: Block) -> list[Block]:
    """Return a block without its content, and then its content."""
    match block["type"]:
        case "text":
            return [{**block, "text": ""}, {"type": "text_delta", "text": block["text"]}]
        case "thinking":
            delta, signed = {"thinking": block["thinking"]}, {"signature": block["signature"]}
            empty = {**block, "thinking": "", "signature": ""}
            return [empty, {"type": "thinking_delta", **delta}, {"type": "signature_delta", **signed}]
        case _:
            return [{**block, "input": {}}, {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    model: Model

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        stream = "".join(
            f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in _events(self.model.message(request))
        ).encode()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(stream)))
        self.send_header("request-id", f"req_{uuid4().hex[:12]}")
        self.end_headers()
        self.wfile.write(stream)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def scripted_model() -> Iterator[Model]:
    """Run a model that knows no answers yet."""
    model = Model()
    handler = type("Handler", (_Handler,), {"model": model})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        model.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield model
        finally:
            server.shutdown()
            thread.join()
