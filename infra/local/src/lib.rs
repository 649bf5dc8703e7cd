//! The local cloud: the AWS services that the pipeline uses, on one loopback port, durable and with their limits.

pub mod clock;
pub mod cloud;
pub mod data_dir;
pub mod firehose;
pub mod glue;
pub mod kinesis;
pub mod lambda;
pub mod s3;
mod server;
pub mod wire;
