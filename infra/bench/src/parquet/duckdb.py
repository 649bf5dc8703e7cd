# Reads enriched events, a JSON object a line, and writes the columns of ad_requests as Parquet; prints the CPU time.
import json
import os
import resource
import sys

import duckdb

lines, out = sys.argv[1:]
connection = duckdb.connect()
connection.execute("SET threads = 1")
connection.execute("SET enable_progress_bar = false")
before = resource.getrusage(resource.RUSAGE_SELF)
connection.execute(
    f"""
    COPY (
      SELECT event_id, schema_version, tenant_id, auction_id,
             make_timestamp((enrichment->>'event_ts')::BIGINT * 1000) AS event_ts,
             make_timestamp(received_ts * 1000) AS received_ts,
             make_timestamp((enrichment->>'enriched_ts')::BIGINT * 1000) AS enriched_ts,
             endpoint, handler_us, warnings,
             CASE WHEN (body->'dooh') IS NOT NULL THEN 'dooh' WHEN (body->'app') IS NOT NULL THEN 'app' ELSE 'site' END AS channel,
             enrichment->'imps'->0->>'adunit_id' AS adunit_id,
             body->'dooh'->'publisher'->>'id' AS publisher_id,
             body->'dooh'->>'id' AS dooh_id, body->'dooh'->>'name' AS dooh_name, body->'dooh'->>'domain' AS dooh_domain,
             json_array_length(body->'imp') AS imps, (body->>'at')::INT AS at, (body->>'tmax')::BIGINT AS tmax_ms,
             body->>'cur' AS cur, ((body->>'test') = '1') AS test,
             body->'source'->>'tid' AS source_tid, (body->'source'->>'fd')::INT AS source_fd,
             (body->'regs'->>'coppa')::INT AS regs_coppa, (body->'regs'->>'gdpr')::INT AS regs_gdpr,
             body->'regs'->>'us_privacy' AS regs_us_privacy, body->'regs'->>'gpp_sid' AS regs_gpp_sid,
             body->'device'->>'ua' AS device_ua, body->'device'->>'ifa' AS device_ifa,
             (body->'device'->>'w')::INT AS device_w, (body->'device'->>'h')::INT AS device_h,
             (body->'device'->'geo'->>'lat')::DOUBLE AS device_geo_lat,
             (body->'device'->'geo'->>'lon')::DOUBLE AS device_geo_lon,
             body->'device'->'geo'->>'country' AS device_geo_country,
             strlen(body::VARCHAR) AS body_bytes, body::VARCHAR AS body
      FROM read_json('{lines}', format = 'newline_delimited', columns = {{
             event_id: 'VARCHAR', schema_version: 'INT', tenant_id: 'VARCHAR', auction_id: 'VARCHAR',
             received_ts: 'BIGINT', endpoint: 'VARCHAR', handler_us: 'BIGINT', warnings: 'VARCHAR[]',
             enrichment: 'JSON', body: 'JSON'}})
    ) TO '{out}' (FORMAT parquet, COMPRESSION zstd)
    """
)
after = resource.getrusage(resource.RUSAGE_SELF)
cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
print(json.dumps({"cpu_s": cpu_s, "bytes": os.path.getsize(out), "version": duckdb.__version__}))
