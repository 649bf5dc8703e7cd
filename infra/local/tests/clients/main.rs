//! The local cloud as others' clients meet it: the SDK for JavaScript, the KPL writing and the KCL reading, `DuckDB`.
//!
//! Not part of `cargo test`, as they bring some 600 MB from npm, Maven Central and PyPI: `cargo test --workspace --test
//! clients`. What is not installed (node with npm, java with mvn, python3), or cannot be had, is named and skipped.

#[cfg(test)]
mod kpl_kcl;
#[cfg(test)]
mod lake;
#[cfg(test)]
mod node;
#[cfg(test)]
mod tools;
