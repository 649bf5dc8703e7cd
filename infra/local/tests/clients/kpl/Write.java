import com.google.common.util.concurrent.ListenableFuture;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Scanner;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.kinesis.producer.KinesisProducer;
import software.amazon.kinesis.producer.KinesisProducerConfiguration;
import software.amazon.kinesis.producer.UserRecordResult;

/**
 * Writes through the KPL, as told on its standard input: {@code new} starts a producer with a fresh shard map,
 * {@code put FROM TO KEYS CHUNK} puts records numbered so, each with the key {@code kN}, N its number modulo KEYS, and
 * the number as data, waits after each CHUNK of them until all are acknowledged, and prints {@code put COUNT RETRIED}.
 * Usage: Write PORT STREAM.
 */
public class Write {
    public static void main(String[] arguments) throws Exception {
        long port = Long.parseLong(arguments[0]);
        String stream = arguments[1];
        KinesisProducer producer = null;
        Scanner orders = new Scanner(System.in, StandardCharsets.UTF_8);
        while (orders.hasNextLine()) {
            String[] order = orders.nextLine().trim().split(" ");
            if (order[0].equals("new")) {
                if (producer != null) {
                    producer.destroy();
                }
                producer = new KinesisProducer(configuration(port));
                System.out.println("new");
            } else {
                int[] number = new int[5];
                for (int at = 1; at < 5; at++) {
                    number[at] = Integer.parseInt(order[at]);
                }
                int retried = 0;
                for (int from = number[1]; from < number[2]; from += number[4]) {
                    int to = Math.min(from + number[4], number[2]);
                    retried += put(producer, stream, from, to, number[3]);
                }
                System.out.println("put " + (number[2] - number[1]) + " " + retried);
            }
        }
        if (producer != null) {
            producer.flushSync();
            producer.destroy();
        }
        System.exit(0);
    }

    static int put(KinesisProducer producer, String stream, int from, int to, int keys) throws Exception {
        List<ListenableFuture<UserRecordResult>> results = new ArrayList<>();
        for (int number = from; number < to; number++) {
            ByteBuffer data = ByteBuffer.wrap(Integer.toString(number).getBytes(StandardCharsets.UTF_8));
            results.add(producer.addUserRecord(stream, "k" + number % keys, data));
            // About 2,000 a second: a split or merge falls into the middle.
            if (number % 20 == 19) {
                Thread.sleep(10);
            }
        }
        producer.flush();
        int retried = 0;
        for (ListenableFuture<UserRecordResult> result : results) {
            UserRecordResult done = result.get();
            if (!done.isSuccessful()) {
                throw new IllegalStateException("not put: " + done.getAttempts().get(0).getErrorMessage());
            }
            retried += done.getAttempts().size() > 1 ? 1 : 0;
        }
        return retried;
    }

    static KinesisProducerConfiguration configuration(long port) {
        return new KinesisProducerConfiguration()
                .setKinesisEndpoint("127.0.0.1")
                .setKinesisPort(port)
                .setCloudwatchEndpoint("127.0.0.1")
                .setCloudwatchPort(port)
                .setStsEndpoint("127.0.0.1")
                .setStsPort(port)
                .setVerifyCertificate(false)
                .setRegion("us-east-1")
                .setMetricsLevel("none")
                .setLogLevel("warning")
                .setRecordMaxBufferedTime(100)
                .setRecordTtl(60_000)
                .setCredentialsProvider(StaticCredentialsProvider.create(AwsBasicCredentials.create("any", "any")));
    }
}
