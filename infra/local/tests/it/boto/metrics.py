"""CloudWatch through boto3: what was put and what the services count of themselves is answered. Argument: the endpoint."""

import datetime
import sys

import boto3

endpoint = sys.argv[1]
arguments = dict(
    endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="any", aws_secret_access_key="any"
)
metrics = boto3.client("cloudwatch", **arguments)
kinesis = boto3.client("kinesis", **arguments)

now = datetime.datetime.now(datetime.timezone.utc)
start, end = now - datetime.timedelta(minutes=10), now + datetime.timedelta(minutes=10)
stage = [{"Name": "Stage", "Value": "enrich"}]
metrics.put_metric_data(
    Namespace="Ours",
    MetricData=[
        {"MetricName": "Events", "Dimensions": stage, "Timestamp": now, "Value": 2.5, "Unit": "Count"},
        {"MetricName": "Events", "Dimensions": stage, "Timestamp": now, "Values": [1.0, 4.0], "Counts": [2.0, 1.0]},
    ],
)
answer = metrics.get_metric_statistics(
    Namespace="Ours", MetricName="Events", Dimensions=stage, StartTime=start, EndTime=end, Period=3600,
    Statistics=["Sum", "SampleCount", "Minimum", "Maximum", "Average"],
)
point = answer["Datapoints"][0]
assert (point["Sum"], point["SampleCount"], point["Minimum"], point["Maximum"]) == (8.5, 4.0, 1.0, 4.0), answer
assert isinstance(point["Timestamp"], datetime.datetime), point

kinesis.create_stream(StreamName="metrics", ShardCount=1)
kinesis.get_waiter("stream_exists").wait(StreamName="metrics", WaiterConfig={"Delay": 1})
kinesis.put_record(StreamName="metrics", PartitionKey="key", Data=b"data")
listed = metrics.list_metrics(Namespace="AWS/Kinesis", Dimensions=[{"Name": "StreamName", "Value": "metrics"}])
names = {metric["MetricName"] for metric in listed["Metrics"]}
assert {"IncomingBytes", "IncomingRecords"} <= names, listed
query = {
    "Id": "bytes",
    "MetricStat": {
        "Metric": {
            "Namespace": "AWS/Kinesis",
            "MetricName": "IncomingBytes",
            "Dimensions": [{"Name": "StreamName", "Value": "metrics"}],
        },
        "Period": 60,
        "Stat": "Sum",
    },
}
answer = metrics.get_metric_data(MetricDataQueries=[query], StartTime=start, EndTime=end)
result = answer["MetricDataResults"][0]
assert (sum(result["Values"]), result["StatusCode"]) == (7.0, "Complete"), answer
assert isinstance(result["Timestamps"][0], datetime.datetime), result

try:
    metrics.put_metric_data(Namespace="AWS/Lambda", MetricData=[{"MetricName": "m", "Value": 1}])
    raise AssertionError("a service's own namespace is taken")
except metrics.exceptions.ClientError as error:
    assert "Namespace" in str(error), error
print("CloudWatch: PutMetricData, GetMetricStatistics, ListMetrics, GetMetricData")
