// Kinesis through the SDK for JavaScript, which speaks HTTP/2 to it: puts, reads, a split, and SubscribeToShard.
// Usage: node kinesis.js ENDPOINT (for HTTPS with NODE_EXTRA_CA_CERTS)
import assert from "node:assert/strict";
import * as sdk from "@aws-sdk/client-kinesis";

const endpoint = process.argv[2];
const credentials = { accessKeyId: "any", secretAccessKey: "any" };
const kinesis = new sdk.KinesisClient({ endpoint, region: "us-east-1", credentials });
const send = (Command, input = {}) => kinesis.send(new Command(input));
const StreamName = `node-${process.pid}-${new URL(endpoint).protocol.slice(0, -1)}`;

async function settled() {
  for (;;) {
    const { StreamDescriptionSummary: seen } = await send(sdk.DescribeStreamSummaryCommand, { StreamName });
    if (seen.StreamStatus === "ACTIVE") return seen;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function read(ShardId) {
  const start = { StreamName, ShardId, ShardIteratorType: "TRIM_HORIZON" };
  let { ShardIterator } = await send(sdk.GetShardIteratorCommand, start);
  const numbers = [];
  while (ShardIterator) {
    const answer = await send(sdk.GetRecordsCommand, { ShardIterator });
    numbers.push(...answer.Records.map((record) => Number(Buffer.from(record.Data).toString())));
    if (answer.Records.length === 0 && answer.MillisBehindLatest === 0) break;
    ShardIterator = answer.NextShardIterator;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  return numbers;
}

async function put(from, to) {
  const Records = [];
  for (let number = from; number < to; number++) {
    Records.push({ PartitionKey: `k${number}`, Data: Buffer.from(String(number)) });
  }
  const answer = await send(sdk.PutRecordsCommand, { StreamName, Records });
  assert.equal(answer.FailedRecordCount, 0);
}

await send(sdk.CreateStreamCommand, { StreamName, ShardCount: 1 });
const { StreamARN } = await settled();
await put(0, 200);

const { Consumer } = await send(sdk.RegisterStreamConsumerCommand, { StreamARN, ConsumerName: "c" });
for (let status = "CREATING"; status !== "ACTIVE"; ) {
  await new Promise((resolve) => setTimeout(resolve, 100));
  const described = await send(sdk.DescribeStreamConsumerCommand, { ConsumerARN: Consumer.ConsumerARN });
  status = described.ConsumerDescription.ConsumerStatus;
}
const subscription = await send(sdk.SubscribeToShardCommand, {
  ConsumerARN: Consumer.ConsumerARN,
  ShardId: "shardId-000000000000",
  StartingPosition: { Type: "TRIM_HORIZON" },
});
const pushed = [];
let children = [];
const pushing = (async () => {
  for await (const event of subscription.EventStream) {
    assert.ok(event.SubscribeToShardEvent, JSON.stringify(event));
    const { Records, ChildShards = [] } = event.SubscribeToShardEvent;
    pushed.push(...Records.map((record) => Number(Buffer.from(record.Data).toString())));
    children.push(...ChildShards);
  }
})();
await put(200, 400);
await send(sdk.SplitShardCommand, {
  StreamName,
  ShardToSplit: "shardId-000000000000",
  NewStartingHashKey: (2n ** 127n).toString(),
});
// The shard has ended: so does the subscription, after its last records and its children.
await pushing;
assert.deepEqual(pushed, [...Array(400).keys()]);
assert.deepEqual(children.map((child) => child.ShardId).sort(), ["shardId-000000000001", "shardId-000000000002"]);
await settled();
await put(400, 500);
const after = (await Promise.all([read("shardId-000000000001"), read("shardId-000000000002")])).flat();
assert.deepEqual(after.sort((a, b) => a - b), [...Array(100).keys()].map((n) => n + 400));
await assert.rejects(send(sdk.DescribeStreamSummaryCommand, { StreamName: "none" }), sdk.ResourceNotFoundException);
await send(sdk.DeleteStreamCommand, { StreamName, EnforceConsumerDeletion: true });
kinesis.destroy();
console.log(`the SDK for JavaScript at ${endpoint}: 500 records, 400 of them pushed`);
