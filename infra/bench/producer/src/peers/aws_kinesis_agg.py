"""aws-kinesis-agg packs, boto3 puts: AWS's own pair for Python. Arguments: endpoint, bytes a record, records."""

import importlib.metadata
import json
import sys
import time

import boto3
from aws_kinesis_agg.aggregator import RecordAggregator

ENDPOINT, SIZE, COUNT = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
PAYLOAD = b"x" * SIZE
# Twenty aggregates of 50 KB a request, as ours are.
MOST = 20

client = boto3.client("kinesis", endpoint_url=ENDPOINT, region_name="us-east-1")
aggregator = RecordAggregator(51_200)
full = []


def put(aggregate):
    key, hash_key, data = aggregate.get_contents()
    entry = {"PartitionKey": key, "Data": data}
    full.append(entry if hash_key is None else entry | {"ExplicitHashKey": hash_key})
    if len(full) == MOST:
        client.put_records(StreamName="events", Records=full)
        full.clear()


begun = time.process_time()
for number in range(COUNT):
    aggregate = aggregator.add_user_record(f"screen-{number % 40_000:06}", PAYLOAD)
    if aggregate:
        put(aggregate)
rest = aggregator.clear_and_get()
if rest:
    put(rest)
if full:
    client.put_records(StreamName="events", Records=full)
cpu_s = time.process_time() - begun
print(json.dumps({"version": importlib.metadata.version("aws-kinesis-agg"), "records": COUNT, "cpu_s": cpu_s}))
