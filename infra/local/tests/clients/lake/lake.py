"""Others' readers and writers of Parquet over our S3: pyarrow with its own client of S3 (the C++ SDK), DuckDB through
s3fs (botocore, asynchronous). Usage: lake.py ENDPOINT
"""

import sys

import duckdb
import fsspec
import pyarrow
import pyarrow.dataset
import pyarrow.fs

endpoint = sys.argv[1]
scheme, host = endpoint.split("://")
ROWS = 100_000


def arrow():
    store = pyarrow.fs.S3FileSystem(
        access_key="any",
        secret_key="any",
        endpoint_override=host,
        scheme=scheme,
        region="us-east-1",
        allow_bucket_creation=True,
    )
    store.create_dir("lake")
    table = pyarrow.table({"n": range(ROWS), "s": [f"v{n % 10}" for n in range(ROWS)]})
    pyarrow.dataset.write_dataset(
        table, "lake/t", filesystem=store, format="parquet", partitioning=["s"], partitioning_flavor="hive"
    )
    read = pyarrow.dataset.dataset("lake/t", filesystem=store, format="parquet", partitioning="hive")
    assert read.count_rows() == ROWS
    assert read.to_table(filter=pyarrow.dataset.field("s") == "v3").num_rows == ROWS // 10
    # Large enough for an upload in parts.
    with store.open_output_stream("lake/large") as large:
        for _ in range(12):
            large.write(b"x" * (1 << 20))
    assert store.get_file_info("lake/large").size == 12 << 20
    store.delete_file("lake/large")


def duck():
    client = {"endpoint_url": endpoint, "region_name": "us-east-1"}
    lake = fsspec.filesystem("s3", key="any", secret="any", client_kwargs=client)
    database = duckdb.connect()
    database.register_filesystem(lake)
    sql = "SELECT s, count(*), sum(n) FROM read_parquet('s3://lake/t/**/*.parquet', hive_partitioning = true) GROUP BY s ORDER BY s"
    rows = database.sql(sql).fetchall()
    assert len(rows) == 10 and sum(row[1] for row in rows) == ROWS, rows
    assert sum(row[2] for row in rows) == ROWS * (ROWS - 1) // 2, rows
    database.sql("COPY (SELECT range AS n FROM range(50000)) TO 's3://lake/by-duckdb.parquet' (FORMAT parquet)")
    assert database.sql("SELECT sum(n) FROM 's3://lake/by-duckdb.parquet'").fetchall()[0][0] == 50_000 * 49_999 // 2


arrow()
duck()
print(f"pyarrow {pyarrow.__version__} and DuckDB {duckdb.__version__} over s3fs, {ROWS} rows")
