//! Queries over real files: what they answer, which files they read, and how executions go.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, ListArray, RecordBatch, StringArray, TimestampMillisecondArray,
};
use arrow::datatypes::Int32Type;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};

use super::Athena;
use crate::glue::Glue;
use crate::s3::{PutOptions, S3};

struct Cloud {
    _directory: tempfile::TempDir,
    s3: S3,
    glue: Glue,
    athena: Athena,
}

const PARQUET_SERDE: &str = "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe";
const PARQUET: &str = "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat";
const SYMLINKS: &str = "org.apache.hadoop.hive.ql.io.SymlinkTextInputFormat";
const TEXT: &str = "org.apache.hadoop.mapred.TextInputFormat";
const JSON_SERDE: &str = "org.openx.data.jsonserde.JsonSerDe";

impl Cloud {
    async fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let s3 = S3::open(directory.path().join("s3")).await.unwrap();
        s3.create_bucket("lake").await.unwrap();
        let glue = Glue::open(directory.path().join("glue")).await.unwrap();
        let athena = Athena::open(directory.path().join("athena"), s3.clone(), glue.clone()).await.unwrap();
        let cloud = Self { _directory: directory, s3, glue, athena };
        cloud.glue("CreateDatabase", &json!({ "DatabaseInput": { "Name": "adx" } })).await;
        cloud
    }

    async fn glue(&self, operation: &str, request: &Value) -> Value {
        let answer = self.glue.call(operation, request.to_string().as_bytes()).await.unwrap();
        serde_json::from_slice(&answer).unwrap()
    }

    async fn athena(&self, operation: &str, request: &Value) -> Result<Value, String> {
        match self.athena.call(operation, request.to_string().as_bytes()).await {
            Ok(answer) => Ok(serde_json::from_slice(&answer).unwrap()),
            Err(error) => Err(format!("{}: {}", error.code, error.message)),
        }
    }

    async fn table(&self, name: &str, format: (&str, &str), columns: &[(&str, &str)], keys: &[(&str, &str)]) {
        self.projected_table((name, format), columns, keys, json!({})).await;
    }

    async fn projected_table(
        &self,
        (name, format): (&str, (&str, &str)),
        columns: &[(&str, &str)],
        keys: &[(&str, &str)],
        parameters: Value,
    ) {
        let fields = |fields: &[(&str, &str)]| -> Vec<Value> {
            fields.iter().map(|(name, kind)| json!({ "Name": name, "Type": kind })).collect()
        };
        let storage = json!({
            "Columns": fields(columns), "Location": format!("s3://lake/{name}/"), "InputFormat": format.0,
            "SerdeInfo": { "SerializationLibrary": format.1 },
        });
        let input = json!({ "Name": name, "StorageDescriptor": storage, "PartitionKeys": fields(keys), "Parameters": parameters });
        self.glue("CreateTable", &json!({ "DatabaseName": "adx", "TableInput": input })).await;
    }

    async fn partition(&self, table: &str, values: &[&str], location: &str) {
        let input = json!({ "Values": values, "StorageDescriptor": { "Location": location } });
        let request = json!({ "DatabaseName": "adx", "TableName": table, "PartitionInput": input });
        self.glue("CreatePartition", &request).await;
    }

    async fn put(&self, key: &str, body: impl Into<Bytes>) {
        self.s3.put("lake", key, body.into(), PutOptions::default()).await.unwrap();
    }

    async fn finished(&self, id: &str) -> Value {
        for _ in 0..2_000 {
            let answer = self.athena("GetQueryExecution", &json!({ "QueryExecutionId": id })).await.unwrap();
            let state = answer["QueryExecution"]["Status"]["State"].as_str().unwrap();
            if !matches!(state, "QUEUED" | "RUNNING") {
                return answer["QueryExecution"].clone();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the query did not finish");
    }

    async fn start(&self, sql: &str) -> String {
        let request = json!({ "QueryString": sql, "QueryExecutionContext": { "Database": "adx" } });
        let answer = self.athena("StartQueryExecution", &request).await.unwrap();
        answer["QueryExecutionId"].as_str().unwrap().to_owned()
    }

    /// The rows without the header, columns with `|` between; or why the query failed.
    async fn query(&self, sql: &str) -> String {
        let id = self.start(sql).await;
        let execution = self.finished(&id).await;
        if execution["Status"]["State"] != "SUCCEEDED" {
            return execution["Status"]["StateChangeReason"].as_str().unwrap().to_owned();
        }
        let answer = self.athena("GetQueryResults", &json!({ "QueryExecutionId": id })).await.unwrap();
        lines(&answer).into_iter().skip(1).collect::<Vec<_>>().join("\n")
    }

    async fn scanned(&self, sql: &str) -> u64 {
        let id = self.start(sql).await;
        self.finished(&id).await["Statistics"]["DataScannedInBytes"].as_u64().unwrap()
    }
}

fn lines(answer: &Value) -> Vec<String> {
    let rows = answer["ResultSet"]["Rows"].as_array().unwrap();
    let cell = |cell: &Value| cell["VarCharValue"].as_str().unwrap_or("NULL").to_owned();
    rows.iter().map(|row| row["Data"].as_array().unwrap().iter().map(cell).collect::<Vec<_>>().join("|")).collect()
}

fn parquet(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
            .unwrap();
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    file
}

fn imps(ids: &[&str], cost: i64) -> Vec<u8> {
    let ids: ArrayRef = Arc::new(StringArray::from(ids.to_vec()));
    let costs: ArrayRef = Arc::new(Int64Array::from(vec![cost; ids.len()]));
    let times: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![1_793_534_400_123; ids.len()]));
    parquet(vec![("id", ids), ("cost_micros", costs), ("event_ts", times)])
}

const COLUMNS: [(&str, &str); 4] =
    [("id", "string"), ("cost_micros", "bigint"), ("event_ts", "timestamp"), ("later", "double")];

#[tokio::test]
async fn a_manifest_switches_a_partition_at_once() {
    let cloud = Cloud::open().await;
    cloud.table("imps", (SYMLINKS, PARQUET_SERDE), &COLUMNS, &[("event_date", "date")]).await;
    cloud.put("data/imps/1.parquet", imps(&["a", "b"], 1)).await;
    cloud.put("data/imps/2.parquet", imps(&["c"], 2)).await;
    cloud.put("data/imps/3.parquet", imps(&["a", "b", "c"], 3)).await;
    cloud
        .put("manifests/imps/2026-11-01/manifest", "s3://lake/data/imps/1.parquet\ns3://lake/data/imps/2.parquet\n")
        .await;
    cloud.put("manifests/imps/2026-11-01/_hidden", "s3://lake/no/such/file\n").await;
    cloud.partition("imps", &["2026-11-01"], "s3://lake/manifests/imps/2026-11-01/").await;

    let sql = "SELECT count(*), sum(cost_micros), min(event_date), max(event_ts), max(later) FROM imps";
    assert_eq!(cloud.query(sql).await, "3|4|2026-11-01|2026-11-01 12:00:00.123|NULL");
    cloud.put("manifests/imps/2026-11-01/manifest", "s3://lake/data/imps/3.parquet").await;
    assert_eq!(cloud.query(sql).await, "3|9|2026-11-01|2026-11-01 12:00:00.123|NULL");
    cloud.put("manifests/imps/2026-11-01/manifest", "").await;
    assert_eq!(cloud.query(sql).await, "0|NULL|NULL|NULL|NULL");
    cloud.put("manifests/imps/2026-11-01/manifest", "s3://lake/gone.parquet").await;
    assert!(cloud.query(sql).await.starts_with("HIVE_CANNOT_OPEN_SPLIT: "));
}

#[tokio::test]
async fn only_the_files_of_wanted_partitions_are_read() {
    let cloud = Cloud::open().await;
    let keys = [("event_date", "date"), ("hour", "int"), ("region", "string")];
    cloud.table("imps", (PARQUET, PARQUET_SERDE), &COLUMNS, &keys).await;
    cloud.put("imps/good/deep/1.parquet", imps(&["a", "b"], 1)).await;
    cloud.partition("imps", &["2026-11-01", "9", "eu"], "s3://lake/imps/good").await;
    // Whoever opens these fails.
    for (day, hour, region) in [("2026-11-02", "9", "eu"), ("2026-11-01", "10", "eu"), ("2026-11-01", "9", "us")] {
        cloud.put(&format!("imps/bad/{day}/{hour}/{region}/x.parquet"), "no parquet").await;
        cloud.partition("imps", &[day, hour, region], &format!("s3://lake/imps/bad/{day}/{hour}/{region}")).await;
    }
    let check = async |filter: &str, expected: &str| {
        let found = cloud.query(&format!("SELECT id, hour FROM imps WHERE {filter} ORDER BY id")).await;
        assert!(found.starts_with(expected), "{filter}: {found}");
    };
    check("event_date = DATE '2026-11-01' AND hour = 9 AND region = 'eu'", "a|9\nb|9").await;
    check("event_date < DATE '2026-11-02' AND hour < 10 AND region LIKE 'e%'", "a|9\nb|9").await;
    check(
        "event_date BETWEEN DATE '2026-10-01' AND DATE '2026-11-01' AND hour IN (8, 9) AND region <> 'us'",
        "a|9\nb|9",
    )
    .await;
    check(
        "date_trunc('day', event_date) = DATE '2026-11-01' AND hour + 1 = 10 AND upper(region) = 'EU' AND id > 'a'",
        "b|9",
    )
    .await;
    check("event_date = DATE '2026-11-01' AND hour = 9", "HIVE_BAD_DATA: ").await;
    check("event_date = '2026-11-01'", "TYPE_MISMATCH: ").await;
    assert_eq!(cloud.query("SELECT event_date, count(*) FROM imps WHERE region = 'mars' GROUP BY 1").await, "");
    let sql = "SELECT id FROM imps WHERE region = 'eu' AND hour = 9 AND event_date = DATE '2026-11-01'";
    assert!(cloud.scanned(sql).await > 0);
}

#[tokio::test]
async fn json_plain_and_gzip_listed_or_projected() {
    let cloud = Cloud::open().await;
    let columns = [
        ("id", "string"),
        ("n", "bigint"),
        ("ts", "timestamp"),
        ("tags", "array<string>"),
        ("geo", "struct<lat:double>"),
    ];
    cloud.table("failed", (TEXT, JSON_SERDE), &columns, &[]).await;
    let row = |id: &str, n: u32| {
        format!(
            "{{\"id\":\"{id}\",\"n\":{n},\"ts\":\"2026-11-01 10:00:00.5\",\"tags\":[\"x\"],\"geo\":{{\"lat\":1.5}},\"other\":1}}\n"
        )
    };
    cloud.put("failed/a", row("a", 1)).await;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, (row("b", 2) + "{\"id\":\"c\"}\n").as_bytes()).unwrap();
    cloud.put("failed/b.gz", gzip.finish().unwrap()).await;
    cloud.put("failed/_temporary/c", "garbage").await;
    let sql = "SELECT id, n, ts, tags, geo.lat FROM failed ORDER BY id";
    assert_eq!(
        cloud.query(sql).await,
        "a|1|2026-11-01 10:00:00.500|[x]|1.5\nb|2|2026-11-01 10:00:00.500|[x]|1.5\nc|NULL|NULL|NULL|NULL"
    );
    assert!(cloud.scanned("SELECT count(*) FROM failed").await > 0);
    cloud.put("failed/z", "{\"n\": \"no number\"}\n").await;
    assert!(!cloud.query("SELECT sum(n) FROM failed").await.is_empty());

    let parameters = json!({
        "projection.enabled": "true", "projection.dt.type": "date", "projection.dt.format": "yyyy-MM-dd",
        "projection.dt.range": "2026-10-30,2026-11-02", "storage.location.template": "s3://lake/projected/dt=${dt}/",
    });
    cloud.projected_table(("projected", (TEXT, JSON_SERDE)), &columns, &[("dt", "string")], parameters).await;
    cloud.put("projected/dt=2026-11-01/x", row("a", 1)).await;
    cloud.put("projected/dt=2026-11-02/x", "garbage").await;
    cloud.put("projected/dt=2026-11-03/x", row("out of range", 1)).await;
    assert_eq!(cloud.query("SELECT id, dt FROM projected WHERE dt <= '2026-11-01'").await, "a|2026-11-01");
}

#[tokio::test]
async fn files_of_another_schema_and_lists() {
    let cloud = Cloud::open().await;
    let columns = [("id", "string"), ("n", "bigint"), ("list", "array<int>"), ("x", "double")];
    cloud.table("t", (PARQUET, PARQUET_SERDE), &columns, &[]).await;
    let ids: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
    let list: ArrayRef =
        Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1), Some(2)])]));
    cloud
        .put("t/1", parquet(vec![("id", Arc::clone(&ids)), ("n", Arc::new(Int64Array::from(vec![7]))), ("list", list)]))
        .await;
    let narrow: ArrayRef = Arc::new(arrow::array::Int32Array::from(vec![8]));
    cloud.put("t/2", parquet(vec![("x", Arc::new(Float64Array::from(vec![0.5])) as ArrayRef), ("n", narrow)])).await;
    assert_eq!(cloud.query("SELECT * FROM t ORDER BY n").await, "a|7|[1, 2]|NULL\nNULL|8|NULL|0.5");
    assert_eq!(cloud.query("SELECT element_at(list, -1) FROM adx.t WHERE n = 7").await, "2");
    assert_eq!(cloud.query("SELECT count(*) FROM awsdatacatalog.adx.t").await, "2");
}

#[tokio::test]
async fn results_are_paged_typed_and_in_s3() {
    let cloud = Cloud::open().await;
    let request = json!({
        "QueryString": "SELECT n, CAST(n AS varchar) AS s, n * 1.5 AS d FROM (VALUES (1), (2), (3)) t (n) ORDER BY 1",
        "ResultConfiguration": { "OutputLocation": "s3://lake/out" },
    });
    let id =
        cloud.athena("StartQueryExecution", &request).await.unwrap()["QueryExecutionId"].as_str().unwrap().to_owned();
    let execution = cloud.finished(&id).await;
    assert_eq!(execution["Status"]["State"], "SUCCEEDED");
    assert_eq!(execution["ResultConfiguration"]["OutputLocation"], format!("s3://lake/out/{id}.csv"));
    let file = cloud.s3.get("lake", &format!("out/{id}.csv"), 1000).await.unwrap();
    assert_eq!(file, "\"n\",\"s\",\"d\"\n\"1\",\"1\",\"1.5\"\n\"2\",\"2\",\"3.0\"\n\"3\",\"3\",\"4.5\"\n");

    let (mut all, mut token) = (Vec::new(), Value::Null);
    loop {
        let request = json!({ "QueryExecutionId": id, "MaxResults": 3, "NextToken": token });
        let page = cloud.athena("GetQueryResults", &request).await.unwrap();
        let kinds: Vec<&str> = page["ResultSet"]["ResultSetMetadata"]["ColumnInfo"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["Type"].as_str().unwrap())
            .collect();
        assert_eq!(kinds, ["bigint", "varchar", "decimal"]);
        all.push(lines(&page));
        token = page["NextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    assert_eq!(all, [vec!["n|s|d", "1|1|1.5", "2|2|3.0"], vec!["3|3|4.5"]]);
}

#[tokio::test]
async fn executions_and_their_errors() {
    let cloud = Cloud::open().await;
    cloud.table("imps", (SYMLINKS, PARQUET_SERDE), &COLUMNS, &[("event_date", "date")]).await;
    cloud.table("csv", (TEXT, "OpenCSVSerde"), &COLUMNS, &[]).await;
    let check = async |sql: &str, expected: &str| {
        let found = cloud.query(sql).await;
        assert!(found.starts_with(expected), "{sql}: {found}");
    };
    check("SELECT 1 FORM t x", "SYNTAX_ERROR: line 1:15: ").await;
    check("SELECT * FROM none", "TABLE_NOT_FOUND: Table 'awsdatacatalog.adx.none' does not exist").await;
    check("SELECT * FROM nobody.none", "SCHEMA_NOT_FOUND: Schema 'nobody' does not exist").await;
    check("SELECT colour FROM imps", "COLUMN_NOT_FOUND: Column 'colour' cannot be resolved").await;
    check("SELECT * FROM csv", "HIVE_UNSUPPORTED_FORMAT: ").await;
    check("DROP TABLE imps", "NOT_SUPPORTED: DROP").await;
    check("SHOW TABLES", "imps").await;
    check("SHOW TABLES IN nobody", "SCHEMA_NOT_FOUND: ").await;

    let id = cloud.start("SHOW TABLES 'im*'").await;
    cloud.finished(&id).await;
    let answer = cloud.athena("GetQueryResults", &json!({ "QueryExecutionId": id })).await.unwrap();
    assert_eq!(lines(&answer), ["imps"]);

    let start = |fields: Value| cloud_request(&fields);
    let token = "t".repeat(32);
    let first = cloud.athena("StartQueryExecution", &start(json!({ "ClientRequestToken": token }))).await.unwrap();
    let again = cloud.athena("StartQueryExecution", &start(json!({ "ClientRequestToken": token }))).await.unwrap();
    assert_eq!(first, again);
    for (fields, expected) in [
        (json!({ "ClientRequestToken": token, "QueryString": "SELECT 2" }), "Idempotent parameters do not match"),
        (json!({ "QueryString": "x".repeat(262_145) }), "QueryString has 1 to 262,144 bytes"),
        (json!({ "WorkGroup": "other" }), "WorkGroup other is not found."),
        (
            json!({ "ResultConfiguration": { "OutputLocation": "file:///tmp" } }),
            "OutputLocation is not a location of S3",
        ),
    ] {
        let error = cloud.athena("StartQueryExecution", &start(fields)).await.unwrap_err();
        assert_eq!(error, format!("InvalidRequestException: {expected}"));
    }
    let failed = cloud.start("SELECT 1 / 0").await;
    let execution = cloud.finished(&failed).await;
    assert_eq!(execution["Status"]["AthenaError"]["ErrorCategory"], 2);
    let error = cloud.athena("GetQueryResults", &json!({ "QueryExecutionId": failed })).await.unwrap_err();
    assert!(error.ends_with("Final query state: FAILED"), "{error}");
    let batch = json!({ "QueryExecutionIds": [failed, "unknown"] });
    let batch = cloud.athena("BatchGetQueryExecution", &batch).await.unwrap();
    assert_eq!(batch["UnprocessedQueryExecutionIds"][0]["QueryExecutionId"], "unknown");
    let listed = cloud.athena("ListQueryExecutions", &json!({ "MaxResults": 1 })).await.unwrap();
    assert_eq!(listed["QueryExecutionIds"], json!([failed]));
}

fn cloud_request(fields: &Value) -> Value {
    let mut request = json!({ "QueryString": "SELECT 1" });
    request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    request
}

#[tokio::test]
async fn a_running_query_is_stopped() {
    let cloud = Cloud::open().await;
    let endless = "SELECT count(*) FROM UNNEST(range(0, 100000)) a (x) CROSS JOIN UNNEST(range(0, 100000)) b (y) WHERE x * y % 7 = 8";
    let ids = futures::future::join_all((0..6).map(|_| cloud.start(endless))).await;
    for id in &ids {
        cloud.athena("StopQueryExecution", &json!({ "QueryExecutionId": id })).await.unwrap();
        let execution = cloud.finished(id).await;
        assert_eq!(execution["Status"]["State"], "CANCELLED");
    }
    assert_eq!(cloud.query("SELECT 1").await, "1");
    cloud.athena.shutdown().await;
}
