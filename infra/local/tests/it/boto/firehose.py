"""Calls every operation of Firehose through boto3, and reads what it delivers.

Records go in by puts and from a Kinesis stream with records of the KPL, are partitioned, converted and compressed; what
was converted is asked for by SQL. Usage: firehose.py ENDPOINT.
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
bucket = f"firehose-{run}"
role = "arn:aws:iam::000000000000:role/firehose"
service = Service("firehose", endpoint)
call, refused = service.call, service.refused
s3 = client("s3", endpoint, s3={"addressing_style": "path"})
kinesis, glue, athena = client("kinesis", endpoint), client("glue", endpoint), client("athena", endpoint)


def destination(**members):
    hints = {"SizeInMBs": 64, "IntervalInSeconds": 1}
    return {"RoleARN": role, "BucketARN": f"arn:aws:s3:::{bucket}", "BufferingHints": hints, **members}


def create(name, source=None, **members):
    """A delivery stream with this destination, from direct puts or a Kinesis stream."""
    arguments = {"DeliveryStreamName": name, "ExtendedS3DestinationConfiguration": destination(**members)}
    if source:
        arguments["DeliveryStreamType"] = "KinesisStreamAsSource"
        arguments["KinesisStreamSourceConfiguration"] = {"KinesisStreamARN": source, "RoleARN": role}
    return call("CreateDeliveryStream", **arguments)["DeliveryStreamARN"]


def put(name, *records):
    answer = call("PutRecordBatch", DeliveryStreamName=name, Records=[{"Data": record} for record in records])
    assert answer["FailedPutCount"] == 0 and len(answer["RequestResponses"]) == len(records), answer


def delivered(prefix, is_enough):
    """The objects below a prefix, once they are enough."""
    for _ in range(200):
        keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])]
        found = {key: s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}
        if is_enough(found):
            return found
        time.sleep(0.1)
    raise AssertionError(f"not delivered below {prefix}: {found}")


def lines(objects):
    return sorted(line for body in objects.values() for line in body.splitlines())


def sql(query, database):
    started = athena.start_query_execution(QueryString=query, QueryExecutionContext={"Database": database})
    for _ in range(600):
        status = athena.get_query_execution(QueryExecutionId=started["QueryExecutionId"])["QueryExecution"]["Status"]
        if status["State"] in ("SUCCEEDED", "FAILED", "CANCELLED"):
            break
        time.sleep(0.05)
    assert status["State"] == "SUCCEEDED", status
    rows = athena.get_query_results(QueryExecutionId=started["QueryExecutionId"])["ResultSet"]["Rows"]
    return [[cell.get("VarCharValue") for cell in row["Data"]] for row in rows[1:]]


def direct_puts():
    name = f"{run}-direct"
    arn = create(name, Prefix="direct/", CompressionFormat="GZIP")
    assert arn.endswith(f"deliverystream/{name}"), arn
    refused(
        "ResourceInUseException",
        "CreateDeliveryStream",
        DeliveryStreamName=name,
        ExtendedS3DestinationConfiguration=destination(),
    )
    described = call("DescribeDeliveryStream", DeliveryStreamName=name)["DeliveryStreamDescription"]
    assert described["DeliveryStreamStatus"] == "ACTIVE", described
    assert name in call("ListDeliveryStreams")["DeliveryStreamNames"]
    assert call("PutRecord", DeliveryStreamName=name, Record={"Data": b"one\n"})["RecordId"]
    put(name, b"two\n", b"three\n")
    refused("ResourceNotFoundException", "PutRecord", DeliveryStreamName="no-such", Record={"Data": b"x"})
    unzipped = lambda objects: {key: gzip.decompress(body) for key, body in objects.items()}
    found = delivered("direct/", lambda objects: len(lines(unzipped(objects))) == 3)
    assert lines(unzipped(found)) == [b"one", b"three", b"two"], found

    call("TagDeliveryStream", DeliveryStreamName=name, Tags=[{"Key": "team", "Value": "ads"}, {"Key": "x"}])
    call("UntagDeliveryStream", DeliveryStreamName=name, TagKeys=["x"])
    assert call("ListTagsForDeliveryStream", DeliveryStreamName=name)["Tags"] == [{"Key": "team", "Value": "ads"}]
    call("StartDeliveryStreamEncryption", DeliveryStreamName=name)
    described = call("DescribeDeliveryStream", DeliveryStreamName=name)["DeliveryStreamDescription"]
    assert described["DeliveryStreamEncryptionConfiguration"]["Status"] == "ENABLED", described
    call("StopDeliveryStreamEncryption", DeliveryStreamName=name)

    change = {"CompressionFormat": "ZIP", "Prefix": "zipped/!{timestamp:yyyy}/", "ErrorOutputPrefix": "failed-"}
    where = {"DeliveryStreamName": name, "DestinationId": "destinationId-000000000001"}
    update = {**where, "CurrentDeliveryStreamVersionId": "1", "ExtendedS3DestinationUpdate": change}
    call("UpdateDestination", **update)
    refused("ConcurrentModificationException", "UpdateDestination", **update)
    put(name, b"four\n")
    for key, body in delivered("zipped/", lambda objects: len(objects) == 1).items():
        archive = zipfile.ZipFile(io.BytesIO(body))
        assert key.endswith(".zip") and f"/{name}-2-" in key, key
        assert archive.testzip() is None and [archive.read(file) for file in archive.namelist()] == [b"four\n"]
    call("DeleteDeliveryStream", DeliveryStreamName=name)
    refused("ResourceNotFoundException", "DescribeDeliveryStream", DeliveryStreamName=name)


def conversion(prefix):
    """What converts to the table below a prefix."""
    return {
        "InputFormatConfiguration": {"Deserializer": {"OpenXJsonSerDe": {"ColumnToJsonKeyMappings": {"at": "timestamp"}}}},
        "OutputFormatConfiguration": {"Serializer": {"ParquetSerDe": {"Compression": "GZIP"}}},
        "SchemaConfiguration": {"RoleARN": role, "DatabaseName": f"db_{run}", "TableName": prefix},
    }


def table(name, partition_keys=(), **parameters):
    columns = {"id": "string", "n": "bigint", "price": "decimal(10,2)", "at": "timestamp", "tags": "array<string>"}
    columns["geo"] = "struct<lat:double,lon:double>"
    glue.create_table(
        DatabaseName=f"db_{run}",
        TableInput={
            "Name": name,
            "TableType": "EXTERNAL_TABLE",
            "Parameters": parameters,
            "PartitionKeys": [{"Name": key, "Type": "string"} for key in partition_keys],
            "StorageDescriptor": {
                "Columns": [{"Name": column, "Type": kind} for column, kind in columns.items()],
                "Location": f"s3://{bucket}/{name}/",
                "InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
                "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
                "SerdeInfo": {"SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"},
            },
        },
    )


def converted():
    name = f"{run}-converted"
    glue.create_database(DatabaseInput={"Name": f"db_{run}"})
    asked = {"Prefix": "converted/", "DataFormatConversionConfiguration": conversion("converted")}
    configuration = destination(**asked)
    refused(
        "InvalidArgumentException",
        "CreateDeliveryStream",
        DeliveryStreamName=name,
        ExtendedS3DestinationConfiguration=configuration,
    )
    table("converted")
    small = {**configuration, "BufferingHints": {"SizeInMBs": 63, "IntervalInSeconds": 60}}
    zipped = {**configuration, "CompressionFormat": "GZIP"}
    for wrong in (small, zipped):
        refused(
            "InvalidArgumentException",
            "CreateDeliveryStream",
            DeliveryStreamName=name,
            ExtendedS3DestinationConfiguration=wrong,
        )
    create(name, **asked, ErrorOutputPrefix="failed-")
    first = {"ID": "a", "n": 1, "price": 1.25, "timestamp": "2026-01-02T03:04:05Z", "tags": ["x", "y"], "other": 1}
    second = {"id": "b", "n": "2", "price": "2.5", "timestamp": 1767323045, "geo": {"lat": 52.5, "LON": 13.4}}
    bad = b'{"id":"c","n":"many"}'
    put(name, json.dumps(first).encode() + json.dumps(second).encode(), bad, b'[{"id":"d"}]')
    parquet = delivered("converted/", lambda objects: len(objects) == 1)
    assert all(key.endswith(".parquet") and body[:4] == b"PAR1" for key, body in parquet.items()), parquet
    rows = sql("SELECT id, n, price, CAST(at AS varchar), cardinality(tags), geo.lon FROM converted ORDER BY id", f"db_{run}")
    at = "2026-01-02 03:04:05.000"
    assert rows == [["a", "1", "1.25", at, "2", None], ["b", "2", "2.50", at, None, "13.4"]], rows
    found = delivered("failed-format-conversion-failed/", lambda objects: len(lines(objects)) == 2)
    failures = [json.loads(line) for body in found.values() for line in body.splitlines()]
    assert [base64.b64decode(failure["rawData"]) for failure in failures] == [bad, b'[{"id":"d"}]'], failures
    assert failures[0]["lastErrorCode"] == "DataFormatConversion.MalformedData", failures
    assert failures[0]["lastErrorMessage"] == 'Data does not match the schema. For input string: "many"', failures
    assert failures[0]["dataCatalogTable"]["tableName"] == "converted", failures


def partitioned():
    """Dynamic partitions that are converted, and asked for by SQL with a projection."""
    name = f"{run}-partitioned"
    prefix = "parted/customer=!{partitionKeyFromQuery:customer}/"
    projection = {
        "projection.enabled": "true",
        "projection.customer.type": "enum",
        "projection.customer.values": "x,y",
        "storage.location.template": f"s3://{bucket}/parted/customer=${{customer}}/",
    }
    table("parted", ["customer"], **projection)
    query = "{customer: (.customer | ascii_downcase)}"
    processors = [
        {"Type": "RecordDeAggregation", "Parameters": [{"ParameterName": "SubRecordType", "ParameterValue": "JSON"}]},
        {
            "Type": "MetadataExtraction",
            "Parameters": [
                {"ParameterName": "MetadataExtractionQuery", "ParameterValue": query},
                {"ParameterName": "JsonParsingEngine", "ParameterValue": "JQ-1.6"},
            ],
        },
    ]
    create(
        name,
        Prefix=prefix,
        ErrorOutputPrefix="broken/!{firehose:error-output-type}/",
        DynamicPartitioningConfiguration={"Enabled": True},
        ProcessingConfiguration={"Enabled": True, "Processors": processors},
        DataFormatConversionConfiguration=conversion("parted"),
    )
    put(name, b'{"customer":"X","n":1}{"customer":"y","n":2}', b'{"customer":"x","n":3}', b'{"n":4}')
    # Before the deadline of a second all are in one buffer of their partition.
    found = delivered("parted/", lambda objects: len(objects) >= 2)
    assert sorted({key.split("/")[1] for key in found}) == ["customer=x", "customer=y"], found
    rows = sql("SELECT customer, sum(n) FROM parted GROUP BY customer ORDER BY customer", f"db_{run}")
    assert rows == [["x", "4"], ["y", "2"]], rows
    found = delivered("broken/metadata-extraction-failed/", lambda objects: len(lines(objects)) == 1)
    failure = json.loads(lines(found)[0])
    assert failure["errorCode"] == "DynamicPartitioning.MetadataExtractionFailed", failure
    assert base64.b64decode(failure["rawData"]) == b'{"n":4}', failure


def too_many_partitions():
    name = f"{run}-many"
    query = [
        {"ParameterName": "MetadataExtractionQuery", "ParameterValue": "{k: .k}"},
        {"ParameterName": "JsonParsingEngine", "ParameterValue": "JQ-1.6"},
    ]
    create(
        name,
        Prefix="many/!{partitionKeyFromQuery:k}/",
        ErrorOutputPrefix="many-failed/!{firehose:error-output-type}/",
        BufferingHints={"SizeInMBs": 64, "IntervalInSeconds": 900},
        DynamicPartitioningConfiguration={"Enabled": True},
        ProcessingConfiguration={"Enabled": True, "Processors": [{"Type": "MetadataExtraction", "Parameters": query}]},
    )
    put(name, *[json.dumps({"k": number}).encode() for number in range(500)])
    put(name, b'{"k":499}', b'{"k":500}')
    # What is buffered when a destination changes is delivered at once.
    where = {"DeliveryStreamName": name, "DestinationId": "destinationId-000000000001"}
    call("UpdateDestination", **where, CurrentDeliveryStreamVersionId="1", ExtendedS3DestinationUpdate={"FileExtension": ".j"})
    for _ in range(300):
        found = s3.list_objects_v2(Bucket=bucket, Prefix="many/").get("Contents", [])
        if len(found) == 500:
            break
        time.sleep(0.2)
    assert len(found) == 500, len(found)
    failed = delivered("many-failed/activePartitionExceeded/", lambda objects: len(objects) == 1)
    assert base64.b64decode(json.loads(lines(failed)[0])["rawData"]) == b'{"k":500}', failed


def varint(number):
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    return bytes(encoded) + bytes([number])


def field(number, value):
    return varint(number << 3 | 2) + varint(len(value)) + value


def aggregate(*records):
    """An aggregated record of the KPL: its message written by hand."""
    message = field(1, b"k")
    for record in records:
        message += field(3, varint(1 << 3) + varint(0) + field(3, record))
    return b"\xf3\x89\x9a\xc2" + message + hashlib.md5(message).digest()


def from_kinesis():
    name = f"{run}-sourced"
    kinesis.create_stream(StreamName=run, ShardCount=2)
    kinesis.get_waiter("stream_exists").wait(StreamName=run)
    arn = kinesis.describe_stream_summary(StreamName=run)["StreamDescriptionSummary"]["StreamARN"]
    kinesis.put_record(StreamName=run, PartitionKey="k", Data=b"before\n")
    create(name, source=arn, Prefix="sourced/", BufferingHints={"SizeInMBs": 1, "IntervalInSeconds": 1})
    refused("InvalidArgumentException", "PutRecord", DeliveryStreamName=name, Record={"Data": b"x"})
    described = call("DescribeDeliveryStream", DeliveryStreamName=name)["DeliveryStreamDescription"]
    assert described["Source"]["KinesisStreamSourceDescription"]["KinesisStreamARN"] == arn, described
    kinesis.put_record(StreamName=run, PartitionKey="k", Data=aggregate(b"one\n", b"two\n"))
    kinesis.put_records(StreamName=run, Records=[{"PartitionKey": f"k{n}", "Data": b"r%d\n" % n} for n in range(10)])
    shards = [shard["ShardId"] for shard in kinesis.list_shards(StreamName=run)["Shards"]]
    kinesis.merge_shards(StreamName=run, ShardToMerge=shards[0], AdjacentShardToMerge=shards[1])
    kinesis.get_waiter("stream_exists").wait(StreamName=run)
    kinesis.put_record(StreamName=run, PartitionKey="k", Data=b"after\n")
    expected = sorted([b"one", b"two", b"after"] + [b"r%d" % n for n in range(10)])
    found = delivered("sourced/", lambda objects: len(lines(objects)) >= len(expected))
    assert lines(found) == expected, found


s3.create_bucket(Bucket=bucket)
direct_puts()
converted()
partitioned()
too_many_partitions()
from_kinesis()
service.check_absent()
