//! Parquet through pyarrow and `DuckDB`. `DuckDB` goes through s3fs: its own client of S3 is an extension that no package
//! registry has.

use tokio::process::Command;

use crate::tools::{HERE, cloud, kept, succeeds};

#[tokio::test(flavor = "multi_thread")]
async fn pyarrow_and_duckdb_write_and_read_tables() {
    let dir = kept("lake");
    let python = dir.join("bin/python");
    let (venv, interpreter) = (dir.to_str().expect("a path"), python.to_str().expect("a path"));
    let has_all = ["-c", "import duckdb, pyarrow, s3fs"];
    if !succeeds(interpreter, &has_all).await {
        let packages = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "duckdb", "pyarrow", "s3fs"];
        let is_made = succeeds("python3", &["-m", "venv", venv]).await && succeeds(interpreter, &packages).await;
        if !is_made || !succeeds(interpreter, &has_all).await {
            println!("skipped: duckdb, pyarrow and s3fs cannot be had; no table was written through them");
            return;
        }
    }
    let (_data, cloud) = cloud().await;
    let script = format!("{HERE}/lake/lake.py");
    let output = Command::new(&python).args(["-B", &script, &cloud.endpoint()]).kill_on_drop(true).output().await;
    let output = output.expect("python runs");
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{out}");
    assert!(output.status.success(), "{out}{errors}");
    cloud.shutdown().await;
}
