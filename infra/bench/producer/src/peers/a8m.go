// github.com/a8m/kinesis-producer. Arguments: endpoint, bytes a record, records.
package main

import (
	"fmt"
	"io"
	"log"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	producer "github.com/a8m/kinesis-producer"
	"github.com/aws/aws-sdk-go/aws"
	"github.com/aws/aws-sdk-go/aws/credentials"
	"github.com/aws/aws-sdk-go/aws/session"
	"github.com/aws/aws-sdk-go/service/kinesis"
)

const version = "0.2.0"

func cpuSeconds() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		log.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}

func main() {
	size, err := strconv.Atoi(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	count, err := strconv.Atoi(os.Args[3])
	if err != nil {
		log.Fatal(err)
	}
	config := aws.NewConfig().WithEndpoint(os.Args[1]).WithRegion("us-east-1").
		WithCredentials(credentials.NewStaticCredentials("AKIDEXAMPLE", "secret", ""))
	client := kinesis.New(session.Must(session.NewSession(config)))
	puts := producer.New(&producer.Config{
		StreamName:    "events",
		BacklogCount:  2000,
		FlushInterval: 100 * time.Millisecond,
		Client:        client,
		Logger:        &producer.StdLogger{Logger: log.New(io.Discard, "", 0)},
	})
	data := []byte(strings.Repeat("x", size))
	before := cpuSeconds()
	puts.Start()
	for number := 0; number < count; number++ {
		if err := puts.Put(data, fmt.Sprintf("screen-%06d", number%40000)); err != nil {
			log.Fatal(err)
		}
	}
	puts.Stop()
	fmt.Printf("{\"version\": \"%s\", \"records\": %d, \"cpu_s\": %.3f}\n", version, count, cpuSeconds()-before)
}
