"""What the interface's own tests add to schemathesis: huge renders are given up again, pictures are looked into, and a refusal of
what the description allows must be one that no schema can say. Read `run` first."""

import requests
import schemathesis

# Pixels times iterations that two workers have done in a moment: the default picture's, and a little more.
CHEAP = 3e8
# What several fields together forbid, by the field that the problem names: pixels that are too many or not in the image, a view that
# is finer than double precision, pixels times iterations.
TOGETHER = {"size", "window", "width", "iter"}
# What is also written as text, whose magnitude no pattern says.
TEXTS = {"c", "center", "bailout"}


def cost(render):
    request = render["request"]
    width, height = (request.get("window") or request["size"])[:2]
    return width * height * request["iter"]


@schemathesis.hook
def before_call(ctx, case, kwargs):
    """A tile is waited for, so one that takes hours is asked for with fewer iterations."""
    fields = (case.path_parameters or {}).get("request")
    if isinstance(fields, str) and "iter=" in fields:
        few = [part[:8] if part.startswith("iter=") else part for part in fields.split(",")]
        case.path_parameters["request"] = ",".join(few)


@schemathesis.hook
def after_call(ctx, case, response):
    """What nobody could wait for is asked for, and then given up, by the client who asked."""
    if response.status_code not in (200, 202) or case.operation.path not in ("/", "/api/v1/renders"):
        return
    url = response.request.url.split("/", 3)
    root = "/".join(url[:3])
    name = response.request.headers.get("Fractally-Client")
    headers = {"Fractally-Client": name} if name else {}
    if case.operation.path == "/":
        found = response.content.split(b'/image/', 1)
        if len(found) < 2:
            return
        render = f"{root}/api/v1/renders/{found[1][:32].decode()}"
        asked = requests.get(render, timeout=10).json()
    else:
        asked = response.json()
        render = root + asked["links"]["self"]
    if cost(asked) > CHEAP:
        requests.delete(render, headers=headers, timeout=10)


@schemathesis.check
def a_refusal_of_what_is_allowed_is_of_fields_together(ctx, response, case):
    """A schema that is too wide would be hidden by the refusals that no schema can say."""
    meta = case.meta
    if response.status_code != 422 or meta is None or not meta.generation.mode.is_positive:
        return
    problem = response.json()
    field = problem.get("field")
    fields = case.body if isinstance(case.body, dict) else {}
    is_text = field in TEXTS and (isinstance(fields.get(field), str) or case.path_parameters)
    assert field in TOGETHER or is_text, f"the description allows what is refused: {problem['detail']}"
    assert "invalid type" not in problem["detail"], problem["detail"]


@schemathesis.check
def too_much_is_not_asked(ctx, response, case):
    """The limits were raised, so nobody is told to slow down."""
    assert response.status_code != 429, response.text


@schemathesis.check
def problems_are_problems(ctx, response, case):
    """Every refusal names itself, and its request."""
    if response.status_code < 400 or case.operation.path == "/readyz":
        return
    assert response.headers["content-type"] == ["application/problem+json"], response.headers["content-type"]
    problem = response.json()
    assert problem["status"] == response.status_code and problem["detail"], problem
    assert response.headers["x-request-id"] == [problem["request_id"]], problem


# How files begin and end.
FILES = {
    "image/png": (b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"),
    "image/webp": (b"RIFF", b""),
    "image/jpeg": (b"\xff\xd8\xff", b"\xff\xd9"),
    "image/tiff": (b"II*\0", b""),
    "application/x-npy": (b"\x93NUMPY", b""),
}


@schemathesis.check
def files_are_whole(ctx, response, case):
    """A file begins and ends as its type does."""
    kind = response.headers.get("content-type", [""])[0]
    if response.status_code != 200 or kind not in FILES:
        return
    begin, end = FILES[kind]
    assert response.content.startswith(begin) and response.content.endswith(end), (kind, response.content[:16], response.content[-16:])


@schemathesis.deserializer(*FILES)
def read_file(context, response):
    """No schema looks into files."""
    return "a file"
