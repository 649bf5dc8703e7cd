"""Calls Secrets Manager and the Parameter Store of the local cloud through boto3; botocore parses every answer.

Usage: settings.py ENDPOINT. Exits with 0 when all is as the services' models say, else says what is not.
"""

import datetime
import sys

import boto3
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

arguments = {
    "endpoint_url": sys.argv[1],
    "region_name": "us-east-1",
    "aws_access_key_id": "any",
    "aws_secret_access_key": "any",
}
secrets = boto3.client("secretsmanager", **arguments)
parameters = boto3.client("ssm", **arguments)


def checked(client, operation, answer):
    """The answer has members of its shape only, of the right types."""
    shape = client.meta.service_model.operation_model(operation).output_shape
    members = {key: value for key, value in answer.items() if key != "ResponseMetadata"}
    report = ParamValidator().validate(members, shape)
    assert not report.has_errors(), f"{operation}: {report.generate_report()}"
    return answer


def refused(call, expected):
    try:
        call()
    except ClientError as error:
        assert error.response["Error"]["Code"] == expected, error
        return
    raise AssertionError(f"{expected} was expected")


created = checked(secrets, "CreateSecret", secrets.create_secret(Name="tenants", SecretString="one"))
checked(secrets, "PutSecretValue", secrets.put_secret_value(SecretId="tenants", SecretString="two"))
got = checked(secrets, "GetSecretValue", secrets.get_secret_value(SecretId=created["ARN"]))
assert got["SecretString"] == "two" and isinstance(got["CreatedDate"], datetime.datetime), got
secrets.put_secret_value(SecretId="tenants", SecretBinary=b"\x00\xff")
assert secrets.get_secret_value(SecretId="tenants")["SecretBinary"] == b"\x00\xff"
refused(lambda: secrets.get_secret_value(SecretId="none"), "ResourceNotFoundException")

put = checked(parameters, "PutParameter", parameters.put_parameter(Name="/t", Value="one", Type="SecureString"))
assert put["Version"] == 1, put
parameters.put_parameter(Name="/t", Value="two", Overwrite=True)
got = checked(parameters, "GetParameter", parameters.get_parameter(Name="/t", WithDecryption=True))["Parameter"]
assert got["Value"] == "two" and isinstance(got["LastModifiedDate"], datetime.datetime), got
refused(lambda: parameters.get_parameter(Name="/none"), "ParameterNotFound")
print("8 operations called, all answers as their shapes")
