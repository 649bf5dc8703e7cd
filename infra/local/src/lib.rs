//! The local cloud, and the whole pipeline on it.
//!
//! The local cloud is the AWS services that the pipeline uses, on one loopback port, durable and with their limits:
//! [`cloud`] starts it, [`kinesis`], [`firehose`], [`s3`], [`glue`], [`athena`], [`lambda`], [`sqs`], [`sns`] and
//! [`cloudwatch`] are its services.
//! [`limits`] says how near each of their limits is, [`faults`] makes them fail. [`pipeline`] runs every stage on it. The
//! `millrace` command is [`cli`] (what is typed), [`demo`], [`up`], [`ask`], [`audit`], and the `command` of [`faults`] and
//! of [`limits`].

mod admin;
pub mod ask;
pub mod athena;
pub mod audit;
pub mod cbor;
pub mod cli;
pub mod clients;
pub mod clock;
pub mod cloud;
pub mod cloudwatch;
pub mod command;
pub mod data_dir;
pub mod demo;
pub mod faults;
pub mod firehose;
pub mod glue;
mod journal;
pub mod kinesis;
pub mod lambda;
pub mod limits;
mod meter;
pub mod names;
pub mod pipeline;
pub mod progress;
pub mod s3;
mod server;
pub mod signature;
pub mod sns;
pub mod sqs;
pub mod tls;
pub mod up;
pub mod vault;
pub mod wire;
