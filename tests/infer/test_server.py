"""The chat-completions server over a scripted student: what it answers, and how it says no."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from scripted import Reply
from serving import ASK, CARD, MODES, REASONED, LiveEngine, client, get, make_app, post

from rdistill.errors import TeacherError
from rdistill.infer.chat_body import MAX_BODY_BYTES, NEUTRAL, ChatBody
from rdistill.infer.server import ROUTES, is_loopback

BEARER = {"authorization": "Bearer s3cret"}
UNLISTED = [
    "/",
    "/docs",
    "/redoc",
    "/openapi.json",
    "/v1",
    "/v1/",
    "/v1/models/",
    "/v1/models/run",
    "/V1/models",
    "/v1/completions",
    "/v1/embeddings",
    "/invocations",
    "/tokenize",
    "/pause",
    "/update_weights",
    "/ping",
    "/version",
    "/load",
    "/metrics/",
    "/health/%2e%2e/v1/models",
]


def message(response: httpx.Response) -> str:
    """The sentence of a refusal, which has OpenAI's shape."""
    body = response.json()
    assert set(body) == {"error"} and set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["type"] == ("server_error" if response.status_code >= 500 else body["error"]["type"])
    return body["error"]["message"]


def ask_all(app: Any, bodies: list[Any]) -> list[int]:
    """The statuses of many bodies, one after the other, over one client."""

    async def ask() -> list[int]:
        async with client(app, **{"content-type": "application/json"}) as c:
            texts = [json.dumps(body) for body in bodies]
            return [(await c.post("/v1/chat/completions", content=text)).status_code for text in texts]

    return asyncio.run(ask())


# Answers


@pytest.mark.parametrize(
    ("mode", "content", "prompt"),
    [
        ("concise", "7", "Only the answer."),
        ("direct", "7", "Only the answer."),
        ("hidden", "7", "Explain."),
        ("explain", REASONED, "Explain."),
        ("tool", "7", "Use the calculator."),
    ],
)
def test_a_mode_is_chosen_by_name_or_field(mode: str, content: str, prompt: str) -> None:
    engine = LiveEngine()
    app = make_app(engine)
    by_name, by_field = post(app, model=f"run:{mode}"), post(app, mode=mode)
    by_default = post(make_app(engine, default=mode))
    for found in (by_name.json(), by_field.json(), by_default.json()):
        assert found["choices"][0]["message"] == {"role": "assistant", "content": content}
        assert found["rdistill"]["mode"] == mode and found["rdistill"]["finished"] is True
        assert 0 < found["rdistill"]["confidence"] <= 1
    assert {asked[0]["content"] for asked, _ in engine.calls} == {prompt}
    assert by_name.json()["model"] == f"run:{mode}" and by_field.json()["model"] == "run"


def test_the_shape_is_openais() -> None:
    found = post(make_app()).json()
    assert set(found) == {"id", "object", "created", "model", "choices", "usage", "rdistill"}
    assert found["object"] == "chat.completion" and found["id"].startswith("chatcmpl-")
    assert found["usage"] == {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11}
    assert found["choices"][0]["finish_reason"] == "stop" and found["choices"][0]["index"] == 0


def test_hidden_reasoning_is_given_where_it_is_asked_for() -> None:
    app = make_app()
    assert "reasoning_content" not in post(app, mode="hidden").json()["choices"][0]["message"]
    found = post(app, mode="hidden", include_reasoning=True).json()["choices"][0]["message"]
    assert found == {"role": "assistant", "content": "7", "reasoning_content": "Adding three and four."}


def test_a_cut_answer_says_so() -> None:
    found = post(make_app(LiveEngine(lambda m, r: Reply("Adding", "length"))), mode="explain").json()
    assert found["choices"][0]["finish_reason"] == "length" and found["rdistill"]["finished"] is False


def test_sampling_is_greedy_unless_the_body_says_else() -> None:
    engine = LiveEngine()
    app = make_app(engine)
    post(app)
    post(app, temperature=0.5, top_p=0.9, seed=3, max_tokens=9, stop="x", mode="tool")
    post(app, temperature=1, max_completion_tokens=8, stop=["x", "y"])
    post(app, temperature=1)
    greedy, warm, hot, again = (request for _, request in engine.calls)
    assert (greedy.temperature, greedy.top_p, greedy.max_tokens, greedy.stop) == (0, 1, 64, [])
    assert (warm.temperature, warm.top_p, warm.max_tokens, warm.seed) == (0.5, 0.9, 9, 3)
    assert warm.stop == ["x", "</tool_call>"] and hot.stop == ["x", "y"] and hot.max_tokens == 8
    assert hot.seed != again.seed, "without a seed each request draws anew"


def test_n_answers_are_n_draws() -> None:
    engine = LiveEngine(lambda m, r: Reply(str(r.index)))
    found = post(make_app(engine), n=3, temperature=1).json()
    assert [c["message"]["content"] for c in found["choices"]] == ["0", "1", "2"]
    assert [c["rdistill"]["mode"] for c in found["choices"]] == ["concise"] * 3 and "rdistill" not in found
    assert found["usage"] == {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}
    assert len({request.seed for _, request in engine.calls}) == 1


def test_what_clients_send_by_default_is_accepted() -> None:
    app = make_app()
    for key, values in NEUTRAL.items():
        for value in values:
            assert ask_all(app, [{**ASK, key: value}]) == [200], (key, value)
    dressed = {"role": "assistant", "content": "5", "refusal": None, "tool_calls": None, "reasoning_content": "2 + 3"}
    parts = [{"type": "text", "text": "And 3 "}, {"type": "text", "text": "+ 4?"}]
    engine = LiveEngine()
    done = post(make_app(engine), messages=[*ASK["messages"], dressed, {"role": "user", "content": parts}], user="me")
    assert done.status_code == 200 and [m["content"] for m in engine.calls[0][0][2:]] == ["5", "And 3 + 4?"]


def test_routes_that_are_no_chat() -> None:
    app = make_app(api_key=None)
    models = get(app, "/v1/models").json()
    assert [m["id"] for m in models["data"]] == ["run", *(f"run:{mode}" for mode in MODES)]
    assert get(app, "/health").json() == {"status": "ok"}
    post(app, mode="hidden"), post(app, model="other")
    metrics = get(app, "/metrics").text
    assert 'rdistill_requests_total{route="/v1/chat/completions",status="200"} 1.0' in metrics
    assert 'rdistill_requests_total{route="/v1/chat/completions",status="404"} 1.0' in metrics
    assert 'rdistill_tokens_total{kind="completion",mode="hidden"} 6.0' in metrics
    assert "3 + 4" not in metrics


# Refusals


@pytest.mark.parametrize("path", UNLISTED)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_every_other_route_is_not_found(path: str, method: str) -> None:
    for headers in ({}, BEARER):
        response = get(make_app(api_key="s3cret"), path, method, **headers)
        assert response.status_code == 404 and "there is /v1/chat/completions" in message(response)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
def test_every_route_has_one_method(method: str) -> None:
    for path, own in ROUTES.items():
        if method != own:
            response = get(make_app(), path, method)
            assert (response.status_code, response.headers["allow"]) == (405, own)


@pytest.mark.parametrize(
    "header", ["", "s3cret", "Bearer", "Bearer wrong", "Basic s3cret", "Bearer s3cret2", "Bearer s3cre"]
)
def test_without_the_key_nothing_is_served(header: str) -> None:
    engine = LiveEngine()
    app = make_app(engine, api_key="s3cret")
    for path, method in ROUTES.items():
        response = get(app, path, method, **({"authorization": header} if header else {}))
        if path == "/health":
            assert response.status_code == 200
        else:
            assert response.status_code == 401 and "send the header Authorization: Bearer" in message(response)
            assert response.headers["www-authenticate"] == "Bearer"
    assert engine.calls == []


def test_the_key_opens() -> None:
    app = make_app(api_key="s3cret")
    assert get(app, "/v1/models", **BEARER).status_code == get(app, "/metrics", **BEARER).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1:80", 200), ("localhost", 200), ("[::1]:80", 200), ("evil.example:80", 403), ("10.0.0.1", 403)],
)
def test_without_a_key_no_web_page_gets_in_by_a_name_of_its_own(host: str, status: int) -> None:
    assert get(make_app(), "/v1/models", host=host).status_code == status
    assert get(make_app(api_key="s3cret"), "/v1/models", host=host, **BEARER).status_code == 200


def test_is_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost", "LOCALHOST.")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "localhost.evil.example", "", "10.0.0.1")))


@pytest.mark.parametrize(
    ("changes", "status", "part"),
    [
        ({"model": "gpt-4"}, 404, "model='gpt-4' is not served here; there is run, run:concise, run:direct"),
        ({"model": "run:loud"}, 404, "model='run:loud' is not served here"),
        ({"model": None}, 400, "model is missing; add it"),
        ({"model": 3}, 400, "model=3: expected text"),
        ({"mode": "loud"}, 400, "mode='loud' was not trained; this student has concise, direct, hidden, explain, tool"),
        ({"model": "run:direct", "mode": "hidden"}, 400, "contradict each other; leave out one"),
        ({"messages": None}, 400, "messages is missing; add it"),
        ({"messages": []}, 400, "expected at least one item"),
        ({"messages": "hello"}, 400, 'messages="hello": expected'),
        ({"messages": [{"role": "user"}]}, 400, "messages.0.content is missing"),
        ({"messages": [{"role": "tool", "content": "x"}]}, 400, "role 'tool'; expected system, user or assistant"),
        ({"messages": [{"role": "system", "content": "x"}]}, 400, "messages holds no user message"),
        ({"messages": [{"role": "user", "content": "x"}] * 257}, 400, "256 items"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x"}}]}]}, 400,
         "a part that is no text"),
        ({"messages": [{"role": "user", "content": "x", "tool_calls": [{}]}]}, 400, "unknown key"),
        ({"messages": [{"role": "user", "content": "x" * 4000}]}, 400, "has 4000 characters, this model takes 50"),
        ({"messages": [{"role": "user", "content": "x " * 60}]}, 400,
         "has 63 tokens with the mode's prompt, this model takes 50, answer included; shorten it"),
        ({"temperature": 2.5}, 400, "temperature=2.5: expected a value less than or equal to 2"),
        ({"temperature": "0"}, 400, 'temperature="0": expected a valid number'),
        ({"temperature": True}, 400, "temperature=true"),
        ({"top_p": 0}, 400, "top_p=0: expected a value greater than 0"),
        ({"max_tokens": 0}, 400, "max_tokens=0"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, 400, "max_tokens and max_completion_tokens differ"),
        ({"n": 17, "temperature": 1}, 400, "n=17"),
        ({"n": 2}, 400, "n=2 at temperature 0 is one answer many times; set temperature above 0"),
        ({"n": 2, "temperature": 1, "stream": True}, 400, "n=2 with stream=true"),
        ({"stop": ["a"] * 5}, 400, "stop="),
        ({"stop": ""}, 400, "stop.0="),
        ({"stream_options": {"include_usage": True}}, 400, "stream_options without stream=true"),
        ({"seed": 2**64}, 400, "seed="),
        ({"chat_template": "{{ 1 }}"}, 400, "'chat_template' is not supported here; leave it out (there is model,"),
        ({"chat_template_kwargs": {}}, 400, "'chat_template_kwargs' is not supported here"),
        ({"tools": [{"type": "function"}]}, 400, "tools is not supported here; leave it out"),
        ({"frequency_penalty": 0.5}, 400, "frequency_penalty is not supported here; leave it out"),
        ({"logprobs": True}, 400, "logprobs is not supported here"),
    ],
)  # fmt: skip
def test_a_bad_body_is_refused_in_one_sentence(changes: dict, status: int, part: str) -> None:
    response = post(make_app(), **changes)
    assert response.status_code == status and part in message(response), response.text
    assert "\n" not in message(response) and len(message(response)) < 500
    assert response.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("raw", "part"),
    [
        (b"", "the body is no plain JSON (not JSON: Expecting value at character 0)"),
        (b"[]", "the body is a JSON list; send one JSON object"),
        (b"\xff", "the body is no plain JSON ('utf-8' codec"),
        (b'{"model": "run", "model": "run"}', "key 'model' stands twice"),
        (b"{" + b",".join(b'"%d":0' % i for i in range(80_000)) + b',"79999":0}', "key '79999' stands twice"),
        (b'{"seed": NaN}', "NaN is not JSON"),
        (b'{"a": ' + b"[" * 100_000, "JSON nested deeper than 32 levels"),
        (b'{"user": "\\ud800"}', "a string holds a lone surrogate"),
        (b'{"seed": ' + b"9" * 5000 + b"}", "a number of 5000 digits"),
    ],
)
def test_what_is_no_json_is_refused(raw: bytes, part: str) -> None:
    response = raw_post(raw)
    assert response.status_code == 400 and part in message(response)


def raw_post(content: Any, **headers: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        async with client(make_app(), **{"content-type": "application/json", **headers}) as c:
            return await c.post("/v1/chat/completions", content=content)

    return asyncio.run(ask())


def test_a_body_has_a_size_and_a_type() -> None:
    assert raw_post(b" " * MAX_BODY_BYTES).status_code == 400
    response = raw_post(b" " * (MAX_BODY_BYTES + 1))
    assert response.status_code == 413 and message(response) == "the body may have 1048576 bytes; send less"
    for content_type in ("text/plain", "application/x-www-form-urlencoded", ""):
        response = raw_post(json.dumps(ASK).encode(), **{"content-type": content_type})
        assert response.status_code == 415 and "send the header Content-Type: application/json" in message(response)
    assert raw_post(json.dumps(ASK).encode(), **{"content-type": "application/json; charset=utf-8"}).status_code == 200


def test_a_mode_without_a_prompt_is_not_offered() -> None:
    app = make_app(card=CARD.model_copy(update={"prompts": {"direct": "d"}}))
    assert [m["id"] for m in get(app, "/v1/models").json()["data"]] == ["run", "run:concise", "run:direct"]
    assert post(app, mode="hidden").status_code == 400 and post(app, model="run:explain").status_code == 404


# Faults


def test_faults_have_a_status_each() -> None:
    def engine(reply: Reply) -> LiveEngine:
        return LiveEngine(lambda m, r: reply)

    refused = post(make_app(engine(Reply("", "refused", "the template takes no system role"))))
    assert refused.status_code == 400 and message(refused) == "the template takes no system role"
    assert post(make_app(engine(Reply("", "failed", "too slow")))).status_code == 504
    assert post(make_app(engine(Reply("half", "abort")))).status_code == 503
    failing = LiveEngine(fail_at=1)
    failed = post(make_app(failing))
    assert failed.status_code == 500 and "failed at this request (TeacherError)" in message(failed)
    slow = post(make_app(LiveEngine(delay_s=5), timeout_s=0.1))
    assert slow.status_code == 504 and message(slow) == "no answer within 0.1 s; ask for fewer tokens"


def test_our_own_fault_is_logged_without_texts(capfd: pytest.CaptureFixture[str]) -> None:
    def script(messages: Any, request: Any) -> Reply:
        raise KeyError(messages[-1]["content"])

    response = post(make_app(LiveEngine(script)))
    assert response.status_code == 500 and "(KeyError)" in message(response)
    noise = capfd.readouterr()
    assert "KeyError" in noise.err and "3 + 4" not in noise.err + noise.out + response.text


def test_a_dead_engine_is_503_everywhere() -> None:
    engine = LiveEngine()
    app = make_app(engine)

    async def dies(*_: Any) -> Any:
        engine.is_alive = False
        raise TeacherError("vLLM failed: EngineDeadError")

    engine.chat = dies  # type: ignore[method-assign]
    for response in (post(app), post(app), post(app, stream=True), get(app, "/health"), get(app, "/v1/models")):
        assert response.status_code == 503 and message(response).startswith("the engine has died")
    assert get(app, "/metrics").status_code == 200


# Bodies by hypothesis

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9)
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
)
ROLES = st.sampled_from(["system", "user", "assistant"]) | SCALARS
PARTS = st.lists(
    st.fixed_dictionaries({"type": st.just("text") | SCALARS, "text": st.text(max_size=9) | JSON}), max_size=3
)
MESSAGE = st.fixed_dictionaries(
    {"role": ROLES, "content": st.text(max_size=40) | PARTS | JSON}, optional={"name": JSON}
)
GOOD = {
    "model": st.sampled_from(["run", "run:hidden"]),
    "messages": st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": st.text(max_size=40)}), min_size=1),
    "mode": st.sampled_from(MODES),
    "temperature": st.floats(0, 2),
    "n": st.integers(1, 4),
    "stream": st.booleans(),
}
NEEDED = {key: GOOD.pop(key) for key in ("model", "messages")}
OPTIONAL = {k: GOOD.get(k, JSON) | JSON for k in {*ChatBody.model_fields, *NEUTRAL, "chat_template"} - {*NEEDED}}
BODIES = st.fixed_dictionaries(
    {"model": NEEDED["model"] | JSON, "messages": NEEDED["messages"] | st.lists(MESSAGE, max_size=4) | JSON},
    optional=OPTIONAL,
)
MOSTLY_GOOD = st.fixed_dictionaries(NEEDED, optional=GOOD)


@settings(max_examples=60, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(st.lists(BODIES | MOSTLY_GOOD | JSON, min_size=5, max_size=10))
def test_no_body_is_a_fault_of_the_server(bodies: list[Any]) -> None:
    """Hundreds of bodies, from nearly right to anything at all."""
    assert set(ask_all(make_app(), bodies)) <= {200, 400, 404}
