// The KPL with its daemon, over TLS. Arguments: port, bytes a record, records, version.
import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.kinesis.producer.KinesisProducer;
import software.amazon.kinesis.producer.KinesisProducerConfiguration;

public class Kpl {
    static final int KEYS = 40_000;
    static final int OUTSTANDING_MAX = 20_000;

    public static void main(String[] args) throws Exception {
        int size = Integer.parseInt(args[1]);
        int count = Integer.parseInt(args[2]);
        var credentials = StaticCredentialsProvider.create(AwsBasicCredentials.create("AKIDEXAMPLE", "secret"));
        var config = new KinesisProducerConfiguration();
        config.setRegion("us-east-1");
        config.setKinesisEndpoint("127.0.0.1");
        config.setKinesisPort(Integer.parseInt(args[0]));
        config.setVerifyCertificate(false);
        config.setMetricsLevel("none");
        config.setLogLevel("error");
        config.setCredentialsProvider(credentials);
        config.setTempDirectory(System.getProperty("java.io.tmpdir"));
        var producer = new KinesisProducer(config);
        byte[] data = "x".repeat(size).getBytes(StandardCharsets.UTF_8);
        // Until both processes are warm.
        put(producer, data, count / 2);
        double before = cpuSeconds();
        put(producer, data, count);
        double spent = cpuSeconds() - before;
        System.out.printf("{\"version\": \"%s\", \"records\": %d, \"cpu_s\": %.3f}%n", args[3], count, spent);
        System.out.flush();
        producer.destroy();
        System.exit(0);
    }

    static void put(KinesisProducer producer, byte[] data, int count) throws Exception {
        for (int number = 0; number < count; number++) {
            while (number % 256 == 0 && producer.getOutstandingRecordsCount() > OUTSTANDING_MAX) {
                Thread.sleep(1);
            }
            String key = String.format("screen-%06d", number % KEYS);
            producer.addUserRecord("events", key, ByteBuffer.wrap(data));
        }
        producer.flushSync();
    }

    /** Of this process and its daemon. */
    static double cpuSeconds() {
        var own = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        double daemon = ProcessHandle.current().descendants()
            .mapToDouble(child -> child.info().totalCpuDuration().orElse(Duration.ZERO).toNanos()).sum();
        return (own.getProcessCpuTime() + daemon) / 1e9;
    }
}
