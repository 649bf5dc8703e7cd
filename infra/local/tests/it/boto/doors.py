"""HTTPS and signatures as boto3 meets them. Usage: doors.py ENDPOINT HTTPS_ENDPOINT CA_FILE.

The local cloud checks signatures, and knows the key AKIDBOTO with the secret `right/+secret`.
"""

import base64
import datetime
import hashlib
import hmac
import sys
import urllib.error
import urllib.request

import botocore
import urllib3
from botocore.exceptions import SSLError

from model import client, code_of

endpoint, https_endpoint, authority = sys.argv[1:4]
KEY, SECRET = "AKIDBOTO", "right/+secret"
urllib3.disable_warnings()


def https():
    for verify in (authority, False):
        kinesis = client("kinesis", https_endpoint, KEY, SECRET, verify=verify)
        assert kinesis.list_streams()["StreamNames"] == []
        assert client("s3", https_endpoint, KEY, SECRET, verify=verify).list_buckets()["Buckets"] is not None
    try:
        client("kinesis", https_endpoint, KEY, SECRET).list_streams()
    except SSLError:
        return
    raise AssertionError("a client that does not trust the certificate was answered")


# Service, the least of its calls, and what it calls a wrong secret, an unknown key, and no signature at all.
JSON = ("InvalidSignatureException", "UnrecognizedClientException", "MissingAuthenticationTokenException")
SERVICES = [
    ("kinesis", "list_streams", JSON),
    ("firehose", "list_delivery_streams", JSON),
    ("glue", "get_databases", JSON),
    ("athena", "list_work_groups", JSON),
    ("lambda", "list_functions", JSON),
    ("s3", "list_buckets", ("SignatureDoesNotMatch", "InvalidAccessKeyId", "AccessDenied")),
    ("sts", "get_caller_identity", ("SignatureDoesNotMatch", "InvalidClientTokenId", "MissingAuthenticationToken")),
]


def signatures():
    for service, method, expected in SERVICES:
        for place in (endpoint, https_endpoint):
            said = tuple(
                code_of(getattr(client(service, place, key, secret, verify=False, **unsigned), method))
                for key, secret, unsigned in (
                    (KEY, SECRET, {}),
                    (KEY, "wrong", {}),
                    ("AKIDOTHER", SECRET, {}),
                    (KEY, SECRET, {"signature_version": botocore.UNSIGNED}),
                )
            )
            # botocore signs GetCallerIdentity whatever it is told to.
            if service == "sts":
                said, expected = said[:3], expected[:2]
            assert said == (None, *expected), f"{service} at {place}: {said}"


def uploads():
    """Bodies are signed in four ways, and a body that is another is refused."""
    made = client("s3", endpoint, KEY, SECRET)
    made.create_bucket(Bucket="signed")
    for place, options in (
        (endpoint, {}),
        (https_endpoint, {}),
        (endpoint, {"s3": {"payload_signing_enabled": True}}),
        (https_endpoint, {"request_checksum_calculation": "when_required"}),
    ):
        store = client("s3", place, KEY, SECRET, verify=False, **options)
        store.put_object(Bucket="signed", Key="a b/\u00e9=+~", Body=b"0123456789" * 10_000)
        got = store.get_object(Bucket="signed", Key="a b/\u00e9=+~")["Body"].read()
        assert got == b"0123456789" * 10_000
        assert len(store.list_objects_v2(Bucket="signed", Prefix="a b/", Delimiter="/")["Contents"]) == 1
    stranger = client("s3", endpoint, KEY, "wrong")
    assert code_of(stranger.put_object, Bucket="signed", Key="x", Body=b"x" * 100_000) == "SignatureDoesNotMatch"


def presigned():
    store = client("s3", endpoint, KEY, SECRET, signature_version="s3v4")
    put = store.generate_presigned_url("put_object", Params={"Bucket": "signed", "Key": "p q"}, ExpiresIn=60)
    assert fetch(put, "PUT", b"body")[0] == 200
    get = store.generate_presigned_url("get_object", Params={"Bucket": "signed", "Key": "p q"}, ExpiresIn=60)
    assert fetch(get) == (200, b"body")
    status, body = fetch(get.replace("p%20q", "other"))
    assert status == 403 and b"<Code>SignatureDoesNotMatch</Code>" in body, body
    status, body = fetch(get.replace("X-Amz-Expires=60", "X-Amz-Expires=61"))
    assert status == 403 and b"<Code>SignatureDoesNotMatch</Code>" in body, body


def fetch(url, method="GET", data=None, headers=None):
    request = urllib.request.Request(url, data=data, method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def sign(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def chunked(data, declared, spoiled=None):
    """Uploads in signed chunks, as the service documents it; botocore itself does not. Each step is by hand."""
    at = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{at[:8]}/us-east-1/s3/aws4_request"
    key = f"AWS4{SECRET}".encode()
    for part in scope.split("/"):
        key = sign(key, part)
    host = endpoint.split("//")[1]
    headers = {
        "content-encoding": "aws-chunked",
        "host": host,
        "x-amz-content-sha256": declared,
        "x-amz-date": at,
        "x-amz-decoded-content-length": str(len(data)),
    }
    trailer = declared.endswith("-TRAILER")
    if trailer:
        headers["x-amz-trailer"] = "x-amz-checksum-sha256"
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    canonical = f"PUT\n/signed/chunks\n\n{lines}\n{names}\n{declared}"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    signature = sign(key, f"AWS4-HMAC-SHA256\n{at}\n{scope}\n{digest}").hex()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={KEY}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    body, empty = b"", hashlib.sha256(b"").hexdigest()
    for start in [*range(0, len(data), 65_536), len(data)]:
        chunk = data[start : start + 65_536]
        hashed = hashlib.sha256(chunk).hexdigest()
        signature = sign(key, f"AWS4-HMAC-SHA256-PAYLOAD\n{at}\n{scope}\n{signature}\n{empty}\n{hashed}").hex()
        sent = signature if start != spoiled else "0" * 64
        body += f"{len(chunk):x};chunk-signature={sent}\r\n".encode() + chunk + (b"\r\n" if chunk else b"")
    if trailer:
        checksum = base64.b64encode(hashlib.sha256(data).digest()).decode()
        line = f"x-amz-checksum-sha256:{checksum}\n"
        hashed = hashlib.sha256(line.encode()).hexdigest()
        signature = sign(key, f"AWS4-HMAC-SHA256-TRAILER\n{at}\n{scope}\n{signature}\n{hashed}").hex()
        sent = signature if spoiled != "trailer" else "0" * 64
        body += f"{line.strip()}\r\nx-amz-trailer-signature:{sent}\r\n".encode()
    body += b"\r\n"
    return fetch(f"{endpoint}/signed/chunks", "PUT", body, headers)


def chunks():
    data = bytes(range(256)) * 600
    for declared in ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"):
        status, body = chunked(data, declared)
        assert status == 200, body
        store = client("s3", endpoint, KEY, SECRET)
        assert store.get_object(Bucket="signed", Key="chunks")["Body"].read() == data
        store.delete_object(Bucket="signed", Key="chunks")
        spoils = [0, 65_536, len(data)] + (["trailer"] if declared.endswith("-TRAILER") else [])
        for spoiled in spoils:
            status, body = chunked(data, declared, spoiled)
            assert status == 403 and b"<Code>SignatureDoesNotMatch</Code>" in body, (spoiled, status, body)
        assert code_of(store.get_object, Bucket="signed", Key="chunks") == "NoSuchKey"


def spoiled_body():
    """A body that is not the one whose hash was signed, and is as long."""

    def spoil(request, **_):
        request.body = b"another body!"

    store = client(
        "s3",
        endpoint,
        KEY,
        SECRET,
        s3={"payload_signing_enabled": True},
        request_checksum_calculation="when_required",
    )
    store.meta.events.register("before-send.s3.PutObject", spoil)
    code = code_of(store.put_object, Bucket="signed", Key="spoiled", Body=b"a single body")
    assert code == "XAmzContentSHA256Mismatch", code


https()
signatures()
uploads()
presigned()
chunks()
spoiled_body()
print(f"HTTPS and signatures, botocore {botocore.__version__}")
