#!/usr/bin/env bash
# A dozen commands of the AWS CLI against the endpoint in AWS_ENDPOINT_URL. Usage: cli.sh AWS
set -euo pipefail
aws=$1
export AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any AWS_DEFAULT_REGION=us-east-1 AWS_PAGER="" AWS_MAX_ATTEMPTS=1
export AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null
[ -n "${AWS_CA_BUNDLE:-}" ] || unset AWS_CA_BUNDLE
name=cli-$$

want() { # want EXPECTED ACTUAL
    [ "$1" == "$2" ] || { echo "not $1 but $2"; exit 1; }
}

"$aws" kinesis create-stream --stream-name $name --shard-count 1
"$aws" kinesis wait stream-exists --stream-name $name
want ACTIVE "$("$aws" kinesis describe-stream-summary --stream-name $name \
    --query StreamDescriptionSummary.StreamStatus --output text)"
"$aws" kinesis put-record --stream-name $name --partition-key k --data aGVsbG8= --cli-binary-format base64 >/dev/null 2>&1 ||
    "$aws" kinesis put-record --stream-name $name --partition-key k --data hello >/dev/null
iterator=$("$aws" kinesis get-shard-iterator --stream-name $name --shard-id shardId-000000000000 \
    --shard-iterator-type TRIM_HORIZON --query ShardIterator --output text)
want aGVsbG8= "$("$aws" kinesis get-records --shard-iterator "$iterator" --query 'Records[0].Data' --output text)"
"$aws" kinesis delete-stream --stream-name $name

"$aws" s3 mb "s3://$name" >/dev/null
printf 'line\n' >file.txt
"$aws" s3 cp file.txt "s3://$name/a/file.txt" >/dev/null
want line "$("$aws" s3 cp "s3://$name/a/file.txt" -)"
"$aws" s3 sync "s3://$name" copies >/dev/null
want line "$(cat copies/a/file.txt)"
"$aws" s3 rm "s3://$name/a/file.txt" >/dev/null
want "" "$("$aws" s3 ls "s3://$name")"
"$aws" s3 rb "s3://$name" >/dev/null

"$aws" glue create-database --database-input Name=cli
want cli "$("$aws" glue get-database --name cli --query Database.Name --output text)"
"$aws" glue delete-database --name cli
want primary "$("$aws" athena list-work-groups --query 'WorkGroups[0].Name' --output text)"
want False "$("$aws" firehose list-delivery-streams --query HasMoreDeliveryStreams --output text)"
want '[]' "$("$aws" lambda list-functions --query Functions --output json)"
want 000000000000 "$("$aws" sts get-caller-identity --query Account --output text)"
rm -r file.txt copies
echo "$("$aws" --version 2>&1)"
