-- title: What was refused or could not be processed, as it was received
-- question: What exactly did the sender send, so that it can be repaired and sent again?
-- table: failed_events
-- parameter d0: first day, by event_date in UTC
-- parameter d1: last day, included
-- column received_ts: when it was received
-- column tenant_id: whose event it is; empty where that could not be read
-- column processor: who refused it: ingest is the door
-- column failure_type: kind of failure
-- column error_code: the rule or error
-- column error_path: JSON pointer to the place
-- column error_message: one sentence
-- column payload_bytes: size of what was received
-- column text: what was received; bytes that are no UTF-8 show as replacement characters
SELECT min(received_ts) AS received_ts,
       tenant_id,
       processor,
       failure_type,
       error_code,
       error_path,
       error_message,
       payload_bytes,
       from_utf8(from_base64(payload)) AS text
FROM failed_events
WHERE event_date BETWEEN :d0 AND :d1
GROUP BY failed_event_id, tenant_id, processor, failure_type, error_code, error_path, error_message, payload_bytes, payload
ORDER BY 1, 5
LIMIT 1000
