"""Calls every Kinesis operation of the local cloud through boto3, and has botocore parse and check every answer.

Usage: kinesis.py ENDPOINT. Exits with 0 when all is as the service's model says, else says what is not.
"""

import sys
import time
import uuid

import botocore
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

from model import check_shape, client

kinesis = client("kinesis", sys.argv[1])
model = kinesis.meta.service_model
ABSENT = ("Channel", "Queue")
# The service itself answers below its model's minimum: no metrics, 0 failed records.
BELOW_MINIMUM = ("ShardLevelMetrics", "FailedRecordCount")
# What a stream takes its time for; until it is active again it refuses the next.
CHANGES = (
    "CreateStream",
    "IncreaseStreamRetentionPeriod",
    "DecreaseStreamRetentionPeriod",
    "EnableEnhancedMonitoring",
    "DisableEnhancedMonitoring",
    "StartStreamEncryption",
    "StopStreamEncryption",
    "UpdateMaxRecordSize",
    "SplitShard",
    "MergeShards",
    "UpdateShardCount",
    "UpdateStreamMode",
    "UpdateStreamWarmThroughput",
    "UpdateStreamRecordDistributionStrategy",
)
called = set()


def settled():
    """Waits until the last change of the stream is done; asks less often than the account may."""
    while kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamStatus"] != "ACTIVE":
        time.sleep(0.1)


def call(operation, **arguments):
    called.add(operation)
    method = getattr(kinesis, METHODS[operation])
    answer = method(**arguments)
    if operation != "SubscribeToShard":
        check_shape(model.operation_model(operation).output_shape, answer, BELOW_MINIMUM)
    if operation in CHANGES:
        settled()
    return answer


def refused(expected, operation, **arguments):
    called.add(operation)
    try:
        getattr(kinesis, METHODS[operation])(**arguments)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        assert code == expected, f"{operation} {arguments}: {code}, not {expected}: {error}"
        return
    raise AssertionError(f"{operation} {arguments} was not refused")


METHODS = {api: python for python, api in kinesis.meta.method_to_api_mapping.items()}
name = f"boto-{uuid.uuid4().hex[:8]}"
known = set(METHODS)

call("CreateStream", StreamName=name, ShardCount=2, Tags={"made": "by boto3"})
arn = call("DescribeStreamSummary", StreamName=name)["StreamDescriptionSummary"]["StreamARN"]
assert call("DescribeStream", StreamARN=arn)["StreamDescription"]["StreamStatus"] == "ACTIVE"
assert name in call("ListStreams")["StreamNames"]
call("DescribeLimits")

put = call("PutRecord", StreamName=name, Data=b"\x00\xff", PartitionKey="k\u00e9")
records = [{"Data": str(n).encode(), "PartitionKey": f"k{n}"} for n in range(100)]
assert call("PutRecords", StreamARN=arn, Records=records)["FailedRecordCount"] == 0
got = []
for shard in call("ListShards", StreamName=name)["Shards"]:
    iterator = call("GetShardIterator", StreamName=name, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")
    answer = call("GetRecords", ShardIterator=iterator["ShardIterator"])
    assert answer["MillisBehindLatest"] == 0
    got += [record["Data"] for record in answer["Records"]]
assert sorted(got) == sorted([record["Data"] for record in records] + [b"\x00\xff"])

consumer = call("RegisterStreamConsumer", StreamARN=arn, ConsumerName="c", Tags={"a": "b"})["Consumer"]["ConsumerARN"]
for _ in range(50):
    if call("DescribeStreamConsumer", ConsumerARN=consumer)["ConsumerDescription"]["ConsumerStatus"] == "ACTIVE":
        break
    time.sleep(0.1)
assert len(call("ListStreamConsumers", StreamARN=arn)["Consumers"]) == 1
events = call(
    "SubscribeToShard", ConsumerARN=consumer, ShardId=put["ShardId"], StartingPosition={"Type": "TRIM_HORIZON"}
)["EventStream"]
for event in events:
    pushed = event["SubscribeToShardEvent"]
    report = ParamValidator().validate(pushed, model.shape_for("SubscribeToShardEvent"))
    assert not report.has_errors(), report.generate_report()
    assert b"\x00\xff" in [record["Data"] for record in pushed["Records"]], pushed
    assert pushed["ContinuationSequenceNumber"]
    break
events.close()
refused(
    "ResourceInUseException",
    "SubscribeToShard",
    ConsumerARN=consumer,
    ShardId=put["ShardId"],
    StartingPosition={"Type": "LATEST"},
)

for resource in (arn, consumer):
    call("TagResource", ResourceARN=resource, Tags={"x": "y"})
    assert {"Key": "x", "Value": "y"} in call("ListTagsForResource", ResourceARN=resource)["Tags"]
    call("UntagResource", ResourceARN=resource, TagKeys=["x"])
    call("PutResourcePolicy", ResourceARN=resource, Policy='{"Version":"2012-10-17","Statement":[]}')
    call("GetResourcePolicy", ResourceARN=resource)
    call("DeleteResourcePolicy", ResourceARN=resource)
call("DeregisterStreamConsumer", StreamARN=arn, ConsumerName="c")
call("AddTagsToStream", StreamName=name, Tags={"team": "ads"})
assert {"Key": "team", "Value": "ads"} in call("ListTagsForStream", StreamName=name)["Tags"]
call("RemoveTagsFromStream", StreamName=name, TagKeys=["team"])

call("IncreaseStreamRetentionPeriod", StreamName=name, RetentionPeriodHours=48)
call("DecreaseStreamRetentionPeriod", StreamName=name, RetentionPeriodHours=24)
call("EnableEnhancedMonitoring", StreamName=name, ShardLevelMetrics=["ALL"])
call("DisableEnhancedMonitoring", StreamName=name, ShardLevelMetrics=["IncomingBytes"])
call("StartStreamEncryption", StreamName=name, EncryptionType="KMS", KeyId="alias/aws/kinesis")
assert call("PutRecord", StreamName=name, Data=b"e", PartitionKey="k")["EncryptionType"] == "KMS"
call("StopStreamEncryption", StreamName=name, EncryptionType="KMS", KeyId="alias/aws/kinesis")
call("UpdateMaxRecordSize", StreamARN=arn, MaxRecordSizeInKiB=2048)

shards = call("ListShards", StreamName=name, ShardFilter={"Type": "AT_LATEST"})["Shards"]
middle = (int(shards[0]["HashKeyRange"]["StartingHashKey"]) + int(shards[0]["HashKeyRange"]["EndingHashKey"])) // 2
call("SplitShard", StreamName=name, ShardToSplit=shards[0]["ShardId"], NewStartingHashKey=str(middle))
shards = call("ListShards", StreamName=name, ShardFilter={"Type": "AT_LATEST"})["Shards"]
shards.sort(key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]))
call("MergeShards", StreamName=name, ShardToMerge=shards[0]["ShardId"], AdjacentShardToMerge=shards[1]["ShardId"])
scaled = call("UpdateShardCount", StreamName=name, TargetShardCount=3, ScalingType="UNIFORM_SCALING")
assert (scaled["CurrentShardCount"], scaled["TargetShardCount"]) == (2, 3)
assert len(call("DescribeStream", StreamName=name)["StreamDescription"]["Shards"]) > 3

call("UpdateAccountSettings", MinimumThroughputBillingCommitment={"Status": "ENABLED"})
call("DescribeAccountSettings")
call("UpdateStreamMode", StreamARN=arn, StreamModeDetails={"StreamMode": "ON_DEMAND"})
call("UpdateStreamWarmThroughput", StreamARN=arn, WarmThroughputMiBps=4)
if "UpdateStreamRecordDistributionStrategy" in known:
    call("UpdateStreamRecordDistributionStrategy", StreamARN=arn, RecordDistributionStrategy="AUTO")
call("DescribeStreamSummary", StreamName=name)
call("DescribeStream", StreamName=name)

refused("ResourceNotFoundException", "DescribeStream", StreamName="no-such-stream")
refused("ResourceInUseException", "CreateStream", StreamName=name, ShardCount=1)
refused("InvalidArgumentException", "GetRecords", ShardIterator="garbage")
refused("ValidationException", "CreateStream", StreamName="a b", ShardCount=1)
refused("ValidationException", "SplitShard", StreamName=name, ShardToSplit="shardId-000000000000", NewStartingHashKey="9")
call("DeleteStream", StreamName=name, EnforceConsumerDeletion=True)

absent = {operation for operation in known if any(part in operation for part in ABSENT)}
for operation in sorted(absent - {"CreateChannel", "CreateQueue"}):
    required = model.operation_model(operation).input_shape
    if required is not None and required.required_members:
        continue
    refused("UnknownOperationException", operation)
missed = known - called - absent
assert not missed, f"not called: {sorted(missed)}"
print(f"{len(called - absent)} operations, botocore {botocore.__version__}")
