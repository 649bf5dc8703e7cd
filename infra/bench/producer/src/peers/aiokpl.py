"""aiokpl: the KPL's pipeline in Python. Arguments: endpoint, bytes a record, records."""

import importlib.metadata
import json
import sys
import time

import anyio
from aiokpl import Config, Producer

ENDPOINT, SIZE, COUNT = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
PAYLOAD = b"x" * SIZE


async def main():
    config = Config(
        region="us-east-1",
        endpoint_url=ENDPOINT,
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="secret",
        rate_limit_records_per_sec_per_shard=1e9,
        rate_limit_bytes_per_sec_per_shard=1e12,
    )
    async with Producer(config) as producer:
        await producer.put_record(stream="events", partition_key="warm", data=PAYLOAD)
        await producer.flush()
        begun = time.process_time()
        for number in range(COUNT):
            key = f"screen-{number % 40_000:06}"
            await producer.put_record(stream="events", partition_key=key, data=PAYLOAD)
        await producer.flush()
        return time.process_time() - begun


cpu_s = anyio.run(main)
print(json.dumps({"version": importlib.metadata.version("aiokpl"), "records": COUNT, "cpu_s": cpu_s}))
