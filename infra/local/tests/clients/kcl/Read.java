import java.net.URI;
import java.nio.charset.StandardCharsets;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.awscore.client.builder.AwsClientBuilder;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.cloudwatch.CloudWatchAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.kinesis.common.ConfigsBuilder;
import software.amazon.kinesis.common.InitialPositionInStream;
import software.amazon.kinesis.common.InitialPositionInStreamExtended;
import software.amazon.kinesis.common.KinesisClientUtil;
import software.amazon.kinesis.coordinator.Scheduler;
import software.amazon.kinesis.lifecycle.events.InitializationInput;
import software.amazon.kinesis.lifecycle.events.LeaseLostInput;
import software.amazon.kinesis.lifecycle.events.ProcessRecordsInput;
import software.amazon.kinesis.lifecycle.events.ShardEndedInput;
import software.amazon.kinesis.lifecycle.events.ShutdownRequestedInput;
import software.amazon.kinesis.metrics.MetricsLevel;
import software.amazon.kinesis.processor.ShardRecordProcessor;
import software.amazon.kinesis.processor.SingleStreamTracker;
import software.amazon.kinesis.retrieval.KinesisClientRecord;
import software.amazon.kinesis.retrieval.fanout.FanOutConfig;
import software.amazon.kinesis.retrieval.polling.PollingConfig;

/**
 * Reads a stream through the KCL until its standard input ends, and prints a line for each record: {@code record SHARD
 * KEY DATA}. Usage: Read ENDPOINT LEASES_ENDPOINT STREAM polling|fanout.
 */
public class Read {
    public static void main(String[] arguments) throws Exception {
        URI endpoint = URI.create(arguments[0]);
        String stream = arguments[2];
        String application = stream + "-" + arguments[3];
        KinesisAsyncClient kinesis =
                KinesisClientUtil.createKinesisAsyncClient(local(KinesisAsyncClient.builder(), endpoint));
        DynamoDbAsyncClient leases = local(DynamoDbAsyncClient.builder(), URI.create(arguments[1])).build();
        CloudWatchAsyncClient metrics = local(CloudWatchAsyncClient.builder(), endpoint).build();
        SingleStreamTracker tracker = new SingleStreamTracker(
                stream, InitialPositionInStreamExtended.newInitialPosition(InitialPositionInStream.TRIM_HORIZON));
        ConfigsBuilder configs =
                new ConfigsBuilder(tracker, application, kinesis, leases, metrics, "worker", Processor::new);
        boolean isFanOut = arguments[3].equals("fanout");
        Scheduler scheduler = new Scheduler(
                configs.checkpointConfig(),
                configs.coordinatorConfig().parentShardPollIntervalMillis(500L).shardConsumerDispatchPollIntervalMillis(200L),
                configs.leaseManagementConfig().failoverTimeMillis(5_000L).shardSyncIntervalMillis(2_000L),
                configs.lifecycleConfig(),
                configs.metricsConfig().metricsLevel(MetricsLevel.NONE),
                configs.processorConfig(),
                configs.retrievalConfig().retrievalSpecificConfig(
                        isFanOut
                                ? new FanOutConfig(kinesis).streamName(stream).applicationName(application)
                                : new PollingConfig(stream, kinesis).idleTimeBetweenReadsInMillis(250L)));
        Thread worker = new Thread(scheduler, "worker");
        worker.setDaemon(true);
        worker.start();
        while (System.in.read() != -1) {
            // Whoever wants an end closes it.
        }
        System.exit(0);
    }

    static <B extends AwsClientBuilder<B, C>, C> B local(B builder, URI endpoint) {
        return builder.region(Region.US_EAST_1)
                .endpointOverride(endpoint)
                .credentialsProvider(StaticCredentialsProvider.create(AwsBasicCredentials.create("any", "any")));
    }

    static class Processor implements ShardRecordProcessor {
        private String shard;

        @Override
        public void initialize(InitializationInput input) {
            shard = input.shardId();
        }

        @Override
        public void processRecords(ProcessRecordsInput input) {
            StringBuilder lines = new StringBuilder();
            for (KinesisClientRecord record : input.records()) {
                String data = StandardCharsets.UTF_8.decode(record.data()).toString();
                lines.append("record ").append(shard).append(' ').append(record.partitionKey()).append(' ')
                        .append(data).append('\n');
            }
            System.out.print(lines);
            System.out.flush();
            checkpoint(() -> input.checkpointer().checkpoint());
        }

        @Override
        public void leaseLost(LeaseLostInput input) {}

        @Override
        public void shardEnded(ShardEndedInput input) {
            checkpoint(() -> input.checkpointer().checkpoint());
        }

        @Override
        public void shutdownRequested(ShutdownRequestedInput input) {
            checkpoint(() -> input.checkpointer().checkpoint());
        }

        interface Checkpoint {
            void run() throws Exception;
        }

        private static void checkpoint(Checkpoint checkpoint) {
            try {
                checkpoint.run();
            } catch (Exception error) {
                throw new IllegalStateException(error);
            }
        }
    }
}
