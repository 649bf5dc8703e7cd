"""Calls every operation of Glue, Athena, S3, Lambda, SQS, SNS and STS through boto3; those of Firehose have a script of their own.

Those that the local cloud has are called and their answers parsed and checked; all others in botocore's own models have
to say that they are not here, by name. Usage: services.py ENDPOINT BOOTSTRAP, the latter a function's binary or "-".
"""

import base64
import gzip
import hashlib
import io
import json
import sys
import time
import uuid
import zipfile

from model import Service, client

endpoint = sys.argv[1]
run = uuid.uuid4().hex[:8]


def glue():
    service = Service("glue", endpoint)
    call, refused = service.call, service.refused
    base = f"db_{run}"
    call("CreateDatabase", DatabaseInput={"Name": base, "Description": "before"})
    refused("AlreadyExistsException", "CreateDatabase", DatabaseInput={"Name": base})
    call("UpdateDatabase", Name=base, DatabaseInput={"Name": base, "Description": "after"})
    assert call("GetDatabase", Name=base)["Database"]["Description"] == "after"
    assert base in [database["Name"] for database in call("GetDatabases")["DatabaseList"]]
    storage = {
        "Columns": [{"Name": "id", "Type": "string"}, {"Name": "n", "Type": "bigint"}],
        "Location": f"s3://{s3.bucket}/table/",
        "InputFormat": "org.apache.hadoop.mapred.TextInputFormat",
        "OutputFormat": "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
        "SerdeInfo": {"SerializationLibrary": "org.openx.data.jsonserde.JsonSerDe"},
    }
    table = {
        "Name": "t",
        "TableType": "EXTERNAL_TABLE",
        "StorageDescriptor": storage,
        "PartitionKeys": [{"Name": "day", "Type": "string"}],
    }
    call("CreateTable", DatabaseName=base, TableInput=table)
    call("UpdateTable", DatabaseName=base, TableInput={**table, "Description": "d"})
    assert call("GetTable", DatabaseName=base, Name="t")["Table"]["Description"] == "d"
    assert [found["Name"] for found in call("GetTables", DatabaseName=base)["TableList"]] == ["t"]

    def partition(day):
        return {"Values": [day], "StorageDescriptor": {**storage, "Location": f"s3://{s3.bucket}/table/day={day}/"}}

    where = {"DatabaseName": base, "TableName": "t"}
    call("CreatePartition", **where, PartitionInput=partition("1"))
    made = call("BatchCreatePartition", **where, PartitionInputList=[partition("1"), partition("2"), partition("3")])
    assert [error["ErrorDetail"]["ErrorCode"] for error in made["Errors"]] == ["AlreadyExistsException"], made
    assert call("GetPartition", **where, PartitionValues=["1"])["Partition"]["Values"] == ["1"]
    found = call("GetPartitions", **where, Expression="day > '1'")["Partitions"]
    assert sorted(entry["Values"][0] for entry in found) == ["2", "3"], found
    got = call("BatchGetPartition", **where, PartitionsToGet=[{"Values": ["1"]}, {"Values": ["9"]}])
    assert len(got["Partitions"]) == 1, got
    call("UpdatePartition", **where, PartitionValueList=["1"], PartitionInput={**partition("1"), "Parameters": {"a": "b"}})
    assert call("GetPartition", **where, PartitionValues=["1"])["Partition"]["Parameters"]["a"] == "b"
    if "BatchUpdatePartition" in OPTIONAL_GLUE:
        entries = [{"PartitionValueList": ["2"], "PartitionInput": partition("2")}]
        assert not call("BatchUpdatePartition", **where, Entries=entries).get("Errors")
    call("DeletePartition", **where, PartitionValues=["3"])
    assert not call("BatchDeletePartition", **where, PartitionsToDelete=[{"Values": ["2"]}]).get("Errors")
    refused("EntityNotFoundException", "GetPartition", **where, PartitionValues=["2"])
    return service, base


def athena(base):
    service = Service("athena", endpoint)
    call, refused = service.call, service.refused
    rows = "".join(json.dumps({"id": f"r{n}", "n": n}) + "\n" for n in range(1, 5))
    s3.client.put_object(Bucket=s3.bucket, Key="table/day=1/rows.json", Body=rows.encode())

    def start(sql):
        output = {"OutputLocation": f"s3://{s3.bucket}/results/"}
        context = {"Database": base}
        started = call("StartQueryExecution", QueryString=sql, QueryExecutionContext=context, ResultConfiguration=output)
        return started["QueryExecutionId"]

    def ended(query):
        for _ in range(600):
            status = call("GetQueryExecution", QueryExecutionId=query)["QueryExecution"]["Status"]
            if status["State"] in ("SUCCEEDED", "FAILED", "CANCELLED"):
                return status
            time.sleep(0.05)
        raise AssertionError("the query does not end")

    query = start("SELECT day, sum(n) AS total FROM t GROUP BY day")
    status = ended(query)
    assert status["State"] == "SUCCEEDED", status
    answer = call("GetQueryResults", QueryExecutionId=query)["ResultSet"]
    cells = [[cell.get("VarCharValue") for cell in row["Data"]] for row in answer["Rows"]]
    assert cells == [["day", "total"], ["1", "10"]], cells
    wrong = start("SELECT nothing FROM nowhere")
    assert ended(wrong)["State"] == "FAILED"
    assert len(call("BatchGetQueryExecution", QueryExecutionIds=[query, wrong])["QueryExecutions"]) == 2
    assert query in call("ListQueryExecutions")["QueryExecutionIds"]
    call("StopQueryExecution", QueryExecutionId=query)
    assert call("GetWorkGroup", WorkGroup="primary")["WorkGroup"]["State"] == "ENABLED"
    assert [group["Name"] for group in call("ListWorkGroups")["WorkGroups"]] == ["primary"]
    refused("InvalidRequestException", "GetQueryResults", QueryExecutionId=wrong)
    service.check_absent()


class S3(Service):
    """The bucket that all others use is made here."""

    def __init__(self):
        super().__init__("s3", endpoint, s3={"addressing_style": "path"})
        self.bucket = f"bucket-{run}"
        self.call("CreateBucket", Bucket=self.bucket)

    def objects(self):
        call, refused, bucket = self.call, self.refused, self.bucket
        call("HeadBucket", Bucket=bucket)
        call("GetBucketLocation", Bucket=bucket)
        assert bucket in [entry["Name"] for entry in call("ListBuckets")["Buckets"]]
        body = b"a body \x00\xff" * 1_000
        put = call("PutObject", Bucket=bucket, Key="dir/k \u00e9+", Body=body, Metadata={"by": "boto"})
        refused("PreconditionFailed", "PutObject", Bucket=bucket, Key="dir/k \u00e9+", Body=b"", IfNoneMatch="*")
        got = call("GetObject", Bucket=bucket, Key="dir/k \u00e9+")
        assert got["Body"].read() == body and got["Metadata"] == {"by": "boto"} and got["ETag"] == put["ETag"]
        assert call("GetObject", Bucket=bucket, Key="dir/k \u00e9+", Range="bytes=2-5")["Body"].read() == b"body"
        assert call("HeadObject", Bucket=bucket, Key="dir/k \u00e9+")["ContentLength"] == len(body)
        call("CopyObject", Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "dir/k \u00e9+"})
        page = call("ListObjectsV2", Bucket=bucket, Delimiter="/")
        assert [entry["Prefix"] for entry in page["CommonPrefixes"]] == ["dir/"], page
        assert [entry["Key"] for entry in page["Contents"]] == ["copy"], page
        assert len(call("ListObjects", Bucket=bucket)["Contents"]) == 2
        part = b"p" * (5 << 20)
        upload = {"Bucket": bucket, "Key": "large"}
        upload["UploadId"] = call("CreateMultipartUpload", Bucket=bucket, Key="large")["UploadId"]
        tags = [call("UploadPart", **upload, PartNumber=n, Body=part)["ETag"] for n in (1, 2)]
        assert [entry["PartNumber"] for entry in call("ListParts", **upload)["Parts"]] == [1, 2]
        parts = [{"ETag": tag, "PartNumber": n} for n, tag in enumerate(tags, 1)]
        call("CompleteMultipartUpload", **upload, MultipartUpload={"Parts": parts})
        assert call("HeadObject", Bucket=bucket, Key="large")["ContentLength"] == 2 * len(part)
        upload["UploadId"] = call("CreateMultipartUpload", Bucket=bucket, Key="large")["UploadId"]
        source = {"Bucket": bucket, "Key": "large"}
        refused("NotImplemented", "UploadPartCopy", **upload, PartNumber=1, CopySource=source)
        call("AbortMultipartUpload", **upload)
        self.client.upload_fileobj(io.BytesIO(part * 3), bucket, "by-the-transfer-manager")
        assert self.client.head_object(Bucket=bucket, Key="by-the-transfer-manager")["ContentLength"] == 3 * len(part)
        call("DeleteObject", Bucket=bucket, Key="copy")
        refused("NoSuchKey", "GetObject", Bucket=bucket, Key="copy")
        refused("BucketNotEmpty", "DeleteBucket", Bucket=bucket)

    def end(self):
        keys = [entry["Key"] for entry in self.client.list_objects_v2(Bucket=self.bucket)["Contents"]]
        deleted = self.call("DeleteObjects", Bucket=self.bucket, Delete={"Objects": [{"Key": key} for key in keys]})
        assert len(deleted["Deleted"]) == len(keys), deleted
        self.call("DeleteBucket", Bucket=self.bucket)
        self.check_absent(ignored=S3_ELSEWHERE)


# Operations of S3 that boto3 sends to a host of their own, or that are another one at this host, or whose bodies are
# read before they are refused.
S3_ELSEWHERE = (
    "ListDirectoryBuckets",
    "PutObjectLegalHold",
    "PutObjectRetention",
    "WriteGetObjectResponse",
)
OPTIONAL_GLUE = ("BatchUpdatePartition",)


def lambdas():
    service = Service("lambda", endpoint)
    call, refused = service.call, service.refused
    assert [found["FunctionName"] for found in call("ListFunctions")["Functions"]] == ["f"]
    assert call("GetFunction", FunctionName="f")["Configuration"]["Runtime"] == "provided.al2023"
    kinesis = client("kinesis", endpoint)
    kinesis.create_stream(StreamName=run, ShardCount=1)
    arn = kinesis.describe_stream_summary(StreamName=run)["StreamDescriptionSummary"]["StreamARN"]
    made = call(
        "CreateEventSourceMapping",
        EventSourceArn=arn,
        FunctionName="f",
        StartingPosition="AT_TIMESTAMP",
        StartingPositionTimestamp=1_700_000_000,
        BatchSize=10,
        FunctionResponseTypes=["ReportBatchItemFailures"],
        FilterCriteria={"Filters": [{"Pattern": json.dumps({"data": {"kind": ["a"]}})}]},
        DestinationConfig={"OnFailure": {"Destination": f"arn:aws:s3:::{s3.bucket}"}},
    )
    assert (made["State"], made["EventSourceArn"]) == ("Enabled", arn), made
    refused(
        "ResourceConflictException",
        "CreateEventSourceMapping",
        EventSourceArn=arn,
        FunctionName="f",
        StartingPosition="LATEST",
    )
    mapping = made["UUID"]
    changed = call("UpdateEventSourceMapping", UUID=mapping, BatchSize=20, MaximumRetryAttempts=3, Enabled=False)
    assert (changed["BatchSize"], changed["MaximumRetryAttempts"], changed["State"]) == (20, 3, "Disabled"), changed
    found = call("GetEventSourceMapping", UUID=mapping)
    assert found["StartingPositionTimestamp"].timestamp() == 1_700_000_000, found
    assert [one["UUID"] for one in call("ListEventSourceMappings", FunctionName="f")["EventSourceMappings"]] == [mapping]
    assert call("DeleteEventSourceMapping", UUID=mapping)["State"] == "Deleting"
    refused("ResourceNotFoundException", "GetEventSourceMapping", UUID=mapping)
    from_archive(service)
    refused("ResourceNotFoundException", "GetFunction", FunctionName="no-such")
    refused("ResourceNotFoundException", "Invoke", FunctionName="no-such", Payload=b"{}")
    service.check_absent()


# A runtime of its own in a few lines: it answers with its event, and fails where that is asked for.
BOOTSTRAP = b'''#!/usr/bin/env python3
import json, os, urllib.request
base = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    with urllib.request.urlopen(base + "next") as answer:
        id, event = answer.headers["lambda-runtime-aws-request-id"], json.load(answer)
    print("got", json.dumps(event), flush=True)
    kind = "error" if isinstance(event, dict) and event.get("fail") else "response"
    body = {"errorType": "Asked", "errorMessage": "it was asked for"} if kind == "error" else {"got": event}
    urllib.request.urlopen(base + id + "/" + kind, data=json.dumps(body).encode()).read()
'''


def archive(mode=0o755):
    """An archive as cargo-lambda makes it: `bootstrap`, executable."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = (0o100000 | mode) << 16
        entry.compress_type = zipfile.ZIP_DEFLATED
        zipped.writestr(entry, BOOTSTRAP)
    return file.getvalue()


def from_archive(service):
    call, refused = service.call, service.refused
    name = f"zip-{run}"
    settings = {
        "FunctionName": name,
        "Runtime": "provided.al2023",
        "Role": "arn:aws:iam::000000000000:role/r",
        "Handler": "bootstrap",
        "Timeout": 20,
        "MemorySize": 512,
    }
    made = call("CreateFunction", **settings, Code={"ZipFile": archive()})
    assert made["State"] == "Pending" and made["CodeSize"] == len(archive()), made
    refused("ResourceConflictException", "CreateFunction", **settings, Code={"ZipFile": archive()})
    service.client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    answer = call("Invoke", FunctionName=name, Payload=b'{"n": 1}', LogType="Tail")
    assert json.load(answer["Payload"]) == {"got": {"n": 1}}, answer
    log = base64.b64decode(answer["LogResult"]).decode()
    assert "START RequestId" in log and "REPORT RequestId" in log, log
    failed = call("Invoke", FunctionName=name, Payload=b'{"fail": true}')
    assert failed["FunctionError"] == "Unhandled" and json.load(failed["Payload"])["errorType"] == "Asked", failed
    s3.client.put_object(Bucket=s3.bucket, Key="code.zip", Body=archive())
    call("UpdateFunctionCode", FunctionName=name, S3Bucket=s3.bucket, S3Key="code.zip")
    service.client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    call("UpdateFunctionConfiguration", FunctionName=name, Environment={"Variables": {"COLOUR": "red"}})
    service.client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    found = call("GetFunctionConfiguration", FunctionName=name)
    assert found["Environment"]["Variables"] == {"COLOUR": "red"} and found["State"] == "Active", found
    refused("InvalidParameterValueException", "PutFunctionConcurrency", FunctionName=name, ReservedConcurrentExecutions=901)
    call("PutFunctionConcurrency", FunctionName=name, ReservedConcurrentExecutions=5)
    assert call("GetFunctionConcurrency", FunctionName=name)["ReservedConcurrentExecutions"] == 5
    assert call("GetAccountSettings")["AccountLimit"]["UnreservedConcurrentExecutions"] == 995
    call("DeleteFunctionConcurrency", FunctionName=name)
    sqs = client("sqs", endpoint)
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    destination = {"OnSuccess": {"Destination": arn}, "OnFailure": {"Destination": arn}}
    call("PutFunctionEventInvokeConfig", FunctionName=name, MaximumRetryAttempts=0, DestinationConfig=destination)
    call("UpdateFunctionEventInvokeConfig", FunctionName=name, MaximumEventAgeInSeconds=60)
    assert call("GetFunctionEventInvokeConfig", FunctionName=name)["MaximumRetryAttempts"] == 0
    assert len(call("ListFunctionEventInvokeConfigs", FunctionName=name)["FunctionEventInvokeConfigs"]) == 1
    for event, condition in (({"n": 2}, "Success"), ({"fail": 1}, "RetriesExhausted")):
        accepted = call("Invoke", FunctionName=name, InvocationType="Event", Payload=json.dumps(event))
        assert accepted["StatusCode"] == 202, accepted
        message = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)["Messages"][0]
        record = json.loads(message["Body"])
        assert record["requestContext"]["condition"] == condition and record["requestPayload"] == event, record
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    call("DeleteFunctionEventInvokeConfig", FunctionName=name)
    from_stream(service, name, sqs, url, arn)
    call("DeleteFunction", FunctionName=name)
    refused("ResourceNotFoundException", "GetFunctionConfiguration", FunctionName=name)
    sqs.delete_queue(QueueUrl=url)


def from_stream(service, name, sqs, url, arn):
    """A batch that the function fails is told to the queue, without its records."""
    kinesis = client("kinesis", endpoint)
    stream = f"failing-{run}"
    kinesis.create_stream(StreamName=stream, ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName=stream, WaiterConfig={"Delay": 1})
    mapping = service.client.create_event_source_mapping(
        EventSourceArn=kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["StreamARN"],
        FunctionName=name,
        StartingPosition="TRIM_HORIZON",
        MaximumRetryAttempts=0,
        FunctionResponseTypes=["ReportBatchItemFailures"],
        DestinationConfig={"OnFailure": {"Destination": arn}},
    )
    # Its code answers without failures, so the batch succeeds; one that is not executable fails.
    service.client.update_function_code(FunctionName=name, ZipFile=archive(0o644))
    kinesis.put_record(StreamName=stream, PartitionKey="k", Data=b"{}")
    message = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)["Messages"][0]
    record = json.loads(message["Body"])
    assert record["KinesisBatchInfo"]["batchSize"] == 1 and "payload" not in record, record
    service.client.delete_event_source_mapping(UUID=mapping["UUID"])


def sqs():
    service = Service("sqs", endpoint)
    call, refused = service.call, service.refused
    url = call("CreateQueue", QueueName=run, Attributes={"VisibilityTimeout": "60"})["QueueUrl"]
    assert call("GetQueueUrl", QueueName=run)["QueueUrl"] == url
    refused("QueueAlreadyExists", "CreateQueue", QueueName=run, Attributes={"VisibilityTimeout": "61"})
    assert url in call("ListQueues", QueueNamePrefix=run)["QueueUrls"]
    call("SetQueueAttributes", QueueUrl=url, Attributes={"DelaySeconds": "0"})
    attributes = {"n": {"DataType": "Number", "StringValue": "7"}, "b": {"DataType": "Binary", "BinaryValue": b"\x00\xff"}}
    sent = call("SendMessage", QueueUrl=url, MessageBody="one \u20ac", MessageAttributes=attributes)
    assert sent["MD5OfMessageBody"] == hashlib.md5("one \u20ac".encode()).hexdigest(), sent
    entries = [{"Id": name, "MessageBody": name} for name in ("a", "b")]
    assert len(call("SendMessageBatch", QueueUrl=url, Entries=entries)["Successful"]) == 2
    got = call("ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], AttributeNames=["All"])
    messages = got["Messages"]
    assert [message["Body"] for message in messages] == ["one \u20ac", "a", "b"], messages
    assert messages[0]["MessageAttributes"]["b"]["BinaryValue"] == b"\x00\xff", messages
    assert messages[0]["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    assert messages[0]["Attributes"]["ApproximateReceiveCount"] == "1"
    held = [message["ReceiptHandle"] for message in messages]
    counts = call("GetQueueAttributes", QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert counts["ApproximateNumberOfMessagesNotVisible"] == "3", counts
    call("DeleteMessage", QueueUrl=url, ReceiptHandle=held[0])
    call("ChangeMessageVisibility", QueueUrl=url, ReceiptHandle=held[1], VisibilityTimeout=0)
    entry = {"Id": "b", "ReceiptHandle": held[2], "VisibilityTimeout": 0}
    assert len(call("ChangeMessageVisibilityBatch", QueueUrl=url, Entries=[entry])["Successful"]) == 1
    again = call("ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    entries = [{"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]} for n, message in enumerate(again)]
    assert len(call("DeleteMessageBatch", QueueUrl=url, Entries=entries)["Successful"]) == 2
    refused("ReceiptHandleIsInvalid", "DeleteMessage", QueueUrl=url, ReceiptHandle="x")
    refused("AWS.SimpleQueueService.UnsupportedOperation", "CreateQueue", QueueName=f"{run}.fifo")
    call("PurgeQueue", QueueUrl=url)
    call("DeleteQueue", QueueUrl=url)
    refused("AWS.SimpleQueueService.NonExistentQueue", "GetQueueUrl", QueueName=run)
    service.check_absent()


def sns():
    service = Service("sns", endpoint)
    call, refused = service.call, service.refused
    sqs = client("sqs", endpoint)
    url = sqs.create_queue(QueueName=f"sns-{run}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topic = call("CreateTopic", Name=run)["TopicArn"]
    assert topic in [found["TopicArn"] for found in call("ListTopics")["Topics"]]
    made = call("Subscribe", TopicArn=topic, Protocol="sqs", Endpoint=arn)["SubscriptionArn"]
    attributes = {"n": {"DataType": "String", "StringValue": "v"}}
    call("Publish", TopicArn=topic, Message="hello <you>", Subject="s", MessageAttributes=attributes)
    body = json.loads(sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"][0]["Body"])
    assert body["Message"] == "hello <you>" and body["MessageAttributes"]["n"]["Value"] == "v", body
    assert call("GetTopicAttributes", TopicArn=topic)["Attributes"]["SubscriptionsConfirmed"] == "1"
    assert made in [found["SubscriptionArn"] for found in call("ListSubscriptions")["Subscriptions"]]
    assert len(call("ListSubscriptionsByTopic", TopicArn=topic)["Subscriptions"]) == 1
    call("Unsubscribe", SubscriptionArn=made)
    call("DeleteTopic", TopicArn=topic)
    refused("NotFound", "Publish", TopicArn=topic, Message="x")
    sqs.delete_queue(QueueUrl=url)
    service.check_absent()


def sts():
    service = Service("sts", endpoint)
    assert service.call("GetCallerIdentity")["Account"] == "000000000000"
    service.check_absent()


s3 = S3()
s3.objects()
catalog, base = glue()
athena(base)
catalog.call("DeleteTable", DatabaseName=base, Name="t")
catalog.call("DeleteDatabase", Name=base)
catalog.check_absent()
lambdas()
sqs()
sns()
sts()
s3.end()
