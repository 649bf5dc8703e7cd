"""async-kinesis, with its KPL aggregation. Arguments: endpoint, bytes a record, records."""

import asyncio
import importlib.metadata
import json
import sys
import time

from kinesis import Producer
from kinesis.processors import KPLStringProcessor

ENDPOINT, SIZE, COUNT = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
PAYLOAD = "x" * SIZE

async def main():
    options = {"put_rate_limit_per_shard": 10**9, "put_bandwidth_limit_per_shard": 10**9}
    async with Producer("events", endpoint_url=ENDPOINT, region_name="us-east-1", processor=KPLStringProcessor(), **options) as producer:
        await producer.put(PAYLOAD)
        await producer.flush()
        begun = time.process_time()
        for number in range(COUNT):
            await producer.put(PAYLOAD)
        await producer.flush()
        return time.process_time() - begun


cpu_s = asyncio.run(main())
print(json.dumps({"version": importlib.metadata.version("async-kinesis"), "records": COUNT, "cpu_s": cpu_s}))
