"""What the scripts share: clients of the local cloud, and answers held against botocore's model of the service."""

import boto3
import botocore.config
from botocore import xform_name
from botocore.exceptions import ClientError, ParamValidationError
from botocore.validate import ParamValidator

# What the local cloud says of operations that it does not have.
ABSENT_CODES = ("UnknownOperationException", "NotImplemented", "InvalidAction")


def client(service, endpoint, key="any", secret="any", **config):
    """A client that retries nothing."""
    verify = config.pop("verify", None)
    config.setdefault("retries", {"max_attempts": 0})
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        verify=verify,
        config=botocore.config.Config(read_timeout=60, **config),
    )


def code_of(call, *arguments, **named):
    """The code of the error that a call is refused with; None when it is not."""
    try:
        call(*arguments, **named)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return None


def check_shape(shape, answer, ignored=()):
    """An answer has the members that its shape requires, of the right types, and no others."""
    if shape is None:
        return
    # S3 says nothing of where a bucket in us-east-1 is.
    members = {key: value for key, value in answer.items() if key != "ResponseMetadata" and value is not None}
    report = ParamValidator().validate(members, shape)
    report._errors = [error for error in report._errors if not str(error[1]).endswith(tuple(ignored))]
    if report.has_errors():
        raise ParamValidationError(report=f"{shape.name}: {report.generate_report()}")


class Service:
    """One service: each of its operations is called once at least, and is either there or named as absent."""

    def __init__(self, name, endpoint, **config):
        self.name = name
        self.client = client(name, endpoint, **config)
        self.bare = client(name, endpoint, parameter_validation=False, **config)
        self.model = self.client.meta.service_model
        self.called = set()

    def call(self, operation, **arguments):
        """Calls an operation that is there; its answer is parsed and checked."""
        self.called.add(operation)
        answer = getattr(self.client, xform_name(operation))(**arguments)
        streams = self.model.operation_model(operation).has_streaming_output
        if not streams:
            check_shape(self.model.operation_model(operation).output_shape, answer)
        return answer

    def refused(self, expected, operation, **arguments):
        """Calls an operation that is there and has to refuse."""
        self.called.add(operation)
        code = code_of(getattr(self.client, xform_name(operation)), **arguments)
        assert code == expected, f"{self.name} {operation} {arguments}: {code}, not {expected}"

    def check_absent(self, ignored=()):
        """All other operations of the model say that they are not here, by name."""
        absent = sorted(set(self.model.operation_names) - self.called - set(ignored))
        for operation in absent:
            shape = self.model.operation_model(operation).input_shape
            arguments = least(shape) if shape is not None else {}
            try:
                answer = getattr(self.bare, xform_name(operation))(**arguments)
            except ClientError as error:
                said = error.response["Error"]
            else:
                raise AssertionError(f"{self.name} {operation} answered {answer}")
            assert is_named(said, operation), f"{self.name} {operation} said {said}"
        print(f"{self.name}: {len(self.called)} operations work, {len(absent)} say that they are not here")


def is_named(said, operation):
    """Lambda's operations are named by method and path, some of S3 by method and sub-resource, the others by name; but for
    those of S3 that the protocol's crate does not know itself."""
    message = said.get("Message", "") + said.get("message", "")
    is_known = operation in message or message.startswith(("Lambda ", "S3 ")) or message == "Unknown operation"
    return said.get("Code") in ABSENT_CODES and is_known


def least(shape, depth=0):
    """The least that a request of this shape has: its required members."""
    if shape.type_name == "structure":
        required = set(shape.required_members)
        if getattr(shape, "is_tagged_union", False) and shape.members:
            required = {next(iter(shape.members))}
        return {name: least(shape.members[name], depth + 1) for name in required} if depth < 8 else {}
    if shape.type_name == "list":
        return [least(shape.member, depth + 1)]
    if shape.type_name == "map":
        return {"k": least(shape.value, depth + 1)}
    if shape.type_name in ("integer", "long"):
        return 1
    if shape.type_name in ("float", "double"):
        return 1.0
    if shape.type_name == "boolean":
        return True
    if shape.type_name == "blob":
        return b"x"
    if shape.type_name == "timestamp":
        return 0
    if shape.enum:
        return shape.enum[0]
    return "x" * max(3, shape.metadata.get("min", 3))
