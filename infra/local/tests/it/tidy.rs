//! The rules of the tree that no compiler checks: who may import whom, sizes, names, first lines.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Longest file: past this nobody reads it whole.
const FILE_LINES_MAX: usize = 500;

/// What each crate may depend on among ours. A stage never imports another stage; only `infra/*` sees several.
const ALLOWED: [(&str, &[&str]); 10] = [
    ("schemas/events", &[]),
    ("schemas/kinesis-record", &[]),
    ("producers/claim-check", &["events"]),
    // The consumer only for the simulation, an optional feature: its stream is read as our readers read.
    ("producers/kinesis", &["kinesis-consumer", "kinesis-record"]),
    ("producers/ingest", &["claim-check", "events", "kinesis-producer", "kinesis-record"]),
    ("producers/load", &["events"]),
    ("consumers/kinesis", &["kinesis-record"]),
    ("consumers/enrich", &["claim-check", "events", "kinesis-consumer", "kinesis-producer"]),
    ("etl", &["claim-check", "events", "kinesis-consumer"]),
    ("queries", &["events"]),
];

/// Our packages, as dependencies name them.
const OURS: [&str; 16] = [
    "bench",
    "claim-check",
    "cloud-bench",
    "enrich",
    "etl",
    "events",
    "ingest",
    "ingest-bench",
    "kinesis-consumer",
    "kinesis-producer",
    "kinesis-record",
    "load",
    "millrace",
    "producer-bench",
    "queries",
    "shard-limits",
];

const DRAWERS: [&str; 9] = ["util", "utils", "helper", "helpers", "common", "misc", "types", "models", "prelude"];

/// Files that decide and do no input or output: they take the time as an argument and never wait.
const PURE: [&str; 12] = [
    "schemas/events/src",
    "schemas/kinesis-record/src",
    "producers/kinesis/src/aggregator.rs",
    "producers/kinesis/src/limiter.rs",
    "producers/kinesis/src/collector.rs",
    "consumers/enrich/src/calculate.rs",
    "consumers/enrich/src/screens.rs",
    "infra/shard-limits/src",
    "infra/local/src/firehose/conversion",
    "infra/local/src/firehose/partition.rs",
    "infra/local/src/firehose/prefix",
    "infra/local/src/firehose/query.rs",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace is there")
}

/// All Rust sources of the tree, with their path from the root.
fn sources() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for top in ["schemas", "producers", "consumers", "etl", "queries", "infra"] {
        collect(&root(), &root().join(top), &mut found);
    }
    assert!(found.len() > 50, "the tree is found");
    found
}

fn collect(root: &Path, folder: &Path, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).expect("a folder of the tree is readable") {
        let path = entry.expect("an entry is readable").path();
        if path.is_dir() {
            let is_source = path.file_name().is_some_and(|name| name != "target" && name != "node_modules");
            if is_source {
                collect(root, &path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
            found.insert(name, std::fs::read_to_string(&path).expect("a source is UTF-8"));
        }
    }
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    for (name, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= FILE_LINES_MAX, "{name} has {lines} lines: split it by what its parts are for");
        let first = text.lines().next().unwrap_or_default();
        assert!(first.starts_with("//! ") && first.len() > 20, "{name} does not begin with what it is for: {first}");
    }
}

#[test]
fn no_drawers_and_no_mod_files() {
    for name in sources().keys() {
        let stem = Path::new(name).file_stem().unwrap().to_string_lossy().into_owned();
        assert!(!DRAWERS.contains(&stem.as_str()), "{name}: a drawer; name it for what is in it");
        assert_ne!(stem, "mod", "{name}: foo.rs and foo/, not foo/mod.rs");
    }
}

#[test]
fn a_stage_never_imports_another_stage() {
    for (folder, allowed) in ALLOWED {
        let manifest = std::fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("a manifest");
        let dependencies = manifest.split("[dependencies]").nth(1).expect("a manifest has dependencies");
        let dependencies = dependencies.split("[dev-dependencies]").next().unwrap();
        for line in dependencies.lines() {
            let name = line.split(['.', ' ', '=']).next().unwrap();
            let is_ours = OURS.contains(&name);
            assert!(!is_ours || allowed.contains(&name), "{folder} may not import {name}");
        }
    }
}

#[test]
fn pure_files_do_not_wait() {
    let mut seen = 0;
    for (name, text) in sources() {
        if !PURE.iter().any(|pure| name.starts_with(pure)) || name.contains("tests") {
            continue;
        }
        seen += 1;
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            let waits = [".await", "async fn", "tokio::", "std::fs::", "Instant::now("];
            assert!(waits.iter().all(|word| !line.contains(word)), "{name} is pure and has: {line}");
        }
    }
    assert!(seen >= PURE.len(), "every pure file is there: {seen}");
}

#[test]
fn readme_lists_every_variable_that_a_config_reads() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("a README");
    for (name, text) in sources() {
        if !name.ends_with("config.rs") {
            continue;
        }
        for variable in variables(&text) {
            assert!(readme.contains(&format!("`{variable}`")), "README does not list {variable} of {name}");
        }
    }
}

/// String literals of a source that are shaped like an environment variable.
fn variables(text: &str) -> Vec<&str> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let is_variable = |word: &&str| {
        word.len() > 3
            && word.contains('_')
            && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    };
    code.split('"').skip(1).step_by(2).filter(is_variable).collect()
}
