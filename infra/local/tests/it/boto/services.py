"""Calls every operation of Glue, Athena, S3, Lambda and STS through boto3; those of Firehose have a script of their own.

Those that the local cloud has are called and their answers parsed and checked; all others in botocore's own models have
to say that they are not here, by name. Usage: services.py ENDPOINT BOOTSTRAP, the latter a function's binary or "-".
"""

import io
import json
import sys
import time
import uuid

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
    refused("ResourceNotFoundException", "GetFunction", FunctionName="no-such")
    refused("ResourceNotFoundException", "Invoke", FunctionName="no-such", Payload=b"{}")
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
sts()
s3.end()
